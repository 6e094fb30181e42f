"""The tokens of a service, for people: nothing of them that is secret is ever here."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.report.safe import line, log_line
from reconciler.report.style import PLAIN, Style

_HEADS: Final = ("ID", "TENANT", "ROLE", "STATE", "EXPIRES", "ORIGIN", "NOTE")
_STATE: Final = _HEADS.index("STATE")


def tokens_text(tokens: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """A table of tokens as `tokens.schema.json` has them; one that was revoked ended then."""
    if not tokens:
        return "no tokens\n"
    rows = [_HEADS, *(_row(one) for one in tokens)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if number:
            paint = style.good if row[_STATE] == "good" else style.dim
            cells[_STATE] = paint(cells[_STATE])
        text = "  ".join(cells).rstrip()
        lines.append(text if number else style.bold(text))
    return "\n".join(lines) + "\n"


def _row(token: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        log_line(token["id"]),
        line(token["tenant"]),
        line(token["role"]),
        line(token["state"]),
        line(token["revoked_at"] or token["expires_at"]),
        line(token["origin"] or "loopback only"),
        line(token["note"]),
    )
