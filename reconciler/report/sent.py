"""What has become of a message that was sent."""

from typing import Any, Final

from reconciler.messages import MessageState, RecipientState, SentMessage
from reconciler.report.safe import line, log_line
from reconciler.report.style import PLAIN, Paint, Style

_HINTS: Final = {
    MessageState.HELD: "the gateway is disconnected: once it is connected again, this is sent",
    MessageState.UNKNOWN: (
        "nobody can tell whether it arrived, so it is not sent again by itself: ask the recipient, "
        "then use --resend or --give-up"
    ),
}


def sent_text(sent: SentMessage, style: Style = PLAIN) -> str:
    """One line for the message, and one for each recipient that it has not been sent to."""
    paint = _paint(sent.state, style)
    lines = [f"{log_line(sent.gateway)}: {paint(sent.state.value)}  {style.dim(line(sent.id))}"]
    for one in sent.recipients:
        if one.state is not RecipientState.SENT:
            said = f": {line(one.answer)}" if one.answer else ""
            lines.append(f"  {log_line(one.address)}: {one.state.value}{said}")
    return "\n".join(lines) + "\n"


def sent_hint(sent: SentMessage, *, kept: bool) -> str:
    """What to know or to do next; nothing where nothing is left to do.

    `kept` says that something keeps sessions, and sends between commands.
    """
    if sent.state is not MessageState.QUEUED:
        return _HINTS.get(sent.state, "")
    until = f", until {sent.expires_at}" if sent.expires_at else ""
    if not kept:
        return f"the next message through this gateway takes it along{until}"
    when = f" at {sent.next_attempt_at}" if sent.next_attempt_at else ""
    return f"the next attempt is made{when}{until}"


def sent_data(sent: SentMessage) -> dict[str, Any]:
    return {
        "format_version": "1.0",
        "id": sent.id,
        "state": sent.state.value,
        "gateway": sent.gateway,
        "kind": sent.kind.value,
        "message_id": sent.message_id,
        "recipients": [
            {
                "address": one.address,
                "state": one.state.value,
                "answer": one.answer,
                "attempts": one.attempts,
            }
            for one in sent.recipients
        ],
        "next_attempt_at": sent.next_attempt_at,
        "expires_at": sent.expires_at,
    }


def _paint(state: MessageState, style: Style) -> Paint:
    match state:
        case MessageState.SENT:
            return style.good
        case MessageState.QUEUED | MessageState.HELD:
            return style.caution
        case _:
            return style.bad
