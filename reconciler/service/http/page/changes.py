"""From one board to the next: which rows look different."""

from typing import Any

from reconciler.service.http.page.board import Board
from reconciler.service.http.page.visits import Visit


def changes(parts: Any, visit: Visit, before: Board | None, board: Board) -> dict[str, Any]:
    """What the browser must replace to show `board`; all of it, where there is nothing before.

    `order` names every row; `rows` has the HTML of those that it does not have like this.
    """
    known = {one.name: one for one in before.shown} if before else {}
    back = board.view.query()
    return {
        "digest": board.digest,
        "title": title(board),
        "order": [one.name for one in board.shown],
        "rows": {
            one.name: parts.row(one, visit, back)
            for one in board.shown
            if known.get(one.name) != one
        },
        "parts": {
            "banner": parts.banner(board),
            "summary": parts.summary(board),
            "labels": parts.labels(board),
            "below": parts.below(board),
        },
    }


def title(board: Board) -> str:
    """What a tab in the background says: whether somebody is needed."""
    failed = board.counts["failed"]
    return f"{failed} failed · Gateway Monitoring" if failed else "Gateway Monitoring"
