"""Gateways of the platform and their sessions."""

from collections.abc import Sequence
from typing import Any, Final

from reconciler.model import CONNECTION_SUCCEEDED, ActualGateway, Cause, Status, StatusState
from reconciler.report.safe import line, log_line
from reconciler.report.style import PLAIN, Style

# the console's own word for a session that is up (page: Configuring the Email Channel)
CONSOLE_WORDS: Final = {StatusState.SUCCEEDED: CONNECTION_SUCCEEDED}


def status_text(
    gateways: Sequence[ActualGateway],
    owner: str,
    style: Style = PLAIN,
    *,
    told: bool = False,
    whole: bool = True,
) -> str:
    """A table. With `told` the platform knows only what people said of it.

    Unless it is to be `whole`, those that are done with are but counted in its last line.
    """
    if not gateways:
        return "no gateways on the platform\n"
    shown = [one for one in gateways if whole or not _done_with(one.status)]
    table = _table(shown, owner, style, told=told) if shown else ""
    count = len(gateways) - len(shown)
    if not count:
        return table
    are, them = ("is", "it") if count == 1 else ("are", "them")
    last = f"{count} {are} no longer declared, and disconnected; --all lists {them}"
    return f"{table}{style.dim(last)}\n"


def _done_with(status: Status) -> bool:
    """Disconnected since nobody declares it any longer; a gateway is never deleted."""
    return status.state is StatusState.DISCONNECTED and status.cause is Cause.UNDECLARED


def _table(gateways: Sequence[ActualGateway], owner: str, style: Style, *, told: bool) -> str:
    rows = [["NAME", "PROTOCOL", "SERVER", "STATUS", "SINCE", ""]]
    rows += [_row(one, owner, told=told) for one in gateways]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        if number:
            cells[3] = _paint(gateways[number - 1].status, style)(cells[3])
        text = "  ".join([*cells, row[5]]).rstrip()
        lines.append(text if number else style.bold(text))
    return "\n".join(lines) + "\n"


def status_data(gateways: Sequence[ActualGateway], owner: str) -> dict[str, Any]:
    return {
        "format_version": "1.0",
        "gateways": [
            {
                "name": one.gateway.name,
                "protocol_type": one.gateway.protocol_type.value,
                "host": one.gateway.host,
                "port": one.gateway.port,
                "status": one.status.state.value,
                "kind": one.status.failure.kind.value if one.status.failure else None,
                "field": one.status.failure.field if one.status.failure else None,
                "message": _plain_message(one.status),
                "since": one.status.since,
                "checked_at": one.status.checked_at,
                "managed": one.owner == owner,
                "revision": one.revision,
            }
            for one in gateways
        ],
    }


def _row(one: ActualGateway, owner: str, *, told: bool) -> list[str]:
    status = one.status
    notes = [_message(status)] if status.state is not StatusState.SUCCEEDED else []
    if told and status.state is StatusState.CONNECTING:
        notes.append("nobody has looked yet")
    if one.owner != owner:
        notes.append(f"foreign: {one.owner or 'made by hand'}")
    server = f"[{one.gateway.host}]" if ":" in one.gateway.host else one.gateway.host
    return [
        log_line(one.gateway.name),
        one.gateway.protocol_type.value,
        line(f"{server}:{one.gateway.port}"),
        CONSOLE_WORDS.get(status.state, status.state.value),
        line(status.since),
        line("; ".join(note for note in notes if note)),
    ]


def _message(status: Status) -> str:
    blame = f"{status.failure.field}: " if status.failure and status.failure.field else ""
    return blame + _plain_message(status)


def _plain_message(status: Status) -> str:
    if status.failure:
        return status.failure.message
    if status.state is StatusState.DISCONNECTED and status.cause:
        return status.cause.value + (f" by {status.actor}" if status.actor else "")
    return ""


def _paint(status: Status, style: Style) -> Any:
    match status.state:
        case StatusState.SUCCEEDED:
            return style.good
        case StatusState.FAILED:
            return style.bad
        case StatusState.CONNECTING:
            return style.caution
        case StatusState.DISCONNECTED:
            return style.dim
