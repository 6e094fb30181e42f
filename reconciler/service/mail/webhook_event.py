"""What a webhook is told of a received message: enough to decide, and where to read it. No body."""

import json
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from reconciler.messages import ReceivedMessage
from reconciler.wire_mail import received_data

TYPE: Final = "message.received"

_MAX_ADDRESSES: Final = 100
_MAX_TEXT: Final = 1_000
"""An event stays small, whatever the sender wrote; the message itself has all of it."""


def event_id(message_id: str) -> str:
    """The same for every attempt, and for every webhook that is told of the message."""
    return f"msg_{message_id}"


def event_body(message: ReceivedMessage) -> bytes:
    event = {
        "type": TYPE,
        "timestamp": message.received_at,
        "data": {**received_data(_bounded(message)), "links": _links(message)},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _links(message: ReceivedMessage) -> dict[str, Any]:
    """Paths, to be read at the service's own address with a token of role send."""
    path = f"/v1/gateways/{quote(message.gateway)}/messages/{quote(message.id)}"
    return {"message": path, "raw": f"{path}/raw"}


def _bounded(message: ReceivedMessage) -> ReceivedMessage:
    return replace(
        message,
        sender=message.sender[:_MAX_TEXT],
        to=tuple(one[:_MAX_TEXT] for one in message.to[:_MAX_ADDRESSES]),
        subject=message.subject[:_MAX_TEXT],
        message_id=message.message_id[:_MAX_TEXT],
        in_reply_to=message.in_reply_to[:_MAX_TEXT],
    )
