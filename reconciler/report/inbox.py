"""Messages that came in through a gateway."""

from typing import Any, Final

from reconciler.messages import InboxPage, ReceivedMessage
from reconciler.report.safe import line, log_line
from reconciler.report.style import PLAIN, Style

_LONGEST_SENDER: Final = 40
_LONGEST_SUBJECT: Final = 60
_STEP: Final = 1024
_UNITS: Final = ("B", "KiB", "MiB", "GiB")


def inbox_text(page: InboxPage, style: Style = PLAIN) -> str:
    """A table; what the senders wrote is cut and cannot act on a terminal."""
    if not page.messages:
        return "no messages\n"
    rows = [["ID", "RECEIVED", "SIZE", "FROM", "SUBJECT"]]
    rows += [_row(message) for message in page.messages]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        cells[2] = row[2].rjust(widths[2])
        text = "  ".join([*cells, row[4]]).rstrip()
        if number and page.messages[number - 1].defects:
            text += "  " + style.caution(_defects(page.messages[number - 1]))
        lines.append(text if number else style.bold(text))
    return "\n".join(lines) + "\n"


def inbox_data(page: InboxPage) -> dict[str, Any]:
    return {
        "format_version": "1.0",
        "messages": [
            {
                "id": one.id,
                "from": one.sender,
                "to": list(one.to),
                "subject": one.subject,
                "received": one.received_at,
                "size": one.size,
                "message_id": one.message_id,
                "defects": list(one.defects),
                "resync": one.resync,
            }
            for one in page.messages
        ],
        "cursor": page.cursor,
        "dropped": page.dropped,
    }


def _row(message: ReceivedMessage) -> list[str]:
    return [
        log_line(message.id),
        line(message.received_at),
        _size(message.size),
        _cut(line(message.sender) or "-", _LONGEST_SENDER),
        _cut(line(message.subject), _LONGEST_SUBJECT),
    ]


def _defects(message: ReceivedMessage) -> str:
    return line("(" + "; ".join(message.defects) + ")")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _size(size: int) -> str:
    figure, unit = float(size), 0
    while figure >= _STEP and unit < len(_UNITS) - 1:
        figure, unit = figure / _STEP, unit + 1
    return f"{figure:.0f} {_UNITS[unit]}" if unit == 0 else f"{figure:.1f} {_UNITS[unit]}"
