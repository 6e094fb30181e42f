"""From one board to the next: which rows look different, and what to say of it aloud."""

from collections import Counter
from typing import Any, Final

from reconciler.service.http.page.board import Board
from reconciler.service.http.page.visits import Visit
from reconciler.service.http.page.words import STATUS_WORDS, count, shown

_NAMED: Final = 3
"""So many gateways are named one by one; of more, only their number is said."""


def changes(parts: Any, visit: Visit, before: Board | None, board: Board) -> dict[str, Any]:
    """What the browser must replace to show `board`; all of it, where there is nothing before.

    `order` names every row; `rows` has the HTML of those that it does not have like this.
    """
    known = {one.name: one for one in before.shown} if before else {}
    back = board.view.query()
    return {
        "digest": board.digest,
        "title": title(board),
        "say": spoken(before, board) if before else "",
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


def spoken(before: Board, board: Board) -> str:
    """What a screen reader says of gateways that have another status now."""
    known = {one.name: one.status for one in before.shown}
    changed = [one for one in board.shown if known.get(one.name, one.status) is not one.status]
    if len(changed) <= _NAMED:
        return " ".join(f"{shown(one.name)}: {STATUS_WORDS[one.status]}." for one in changed)
    words = Counter(STATUS_WORDS[one.status] for one in changed)
    numbers = ", ".join(f"{number} {word}" for word, number in words.most_common())
    return f"{count(len(changed), 'gateway')} changed: {numbers}."
