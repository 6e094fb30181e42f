"""Messages as JSON, between the service and its clients. Pure, and the same on both sides."""

import base64
from collections.abc import Mapping
from typing import Any

from reconciler.messages import (
    Attachment,
    InboxPage,
    MessageKind,
    MessageState,
    MessageView,
    OutgoingMessage,
    ReceivedMessage,
    Recipient,
    RecipientState,
    SentMessage,
)

Json = dict[str, Any]


def outgoing_data(message: OutgoingMessage) -> Json:
    return {
        "kind": message.kind.value,
        "to": list(message.to),
        "cc": list(message.cc),
        "bcc": list(message.bcc),
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "reply_to": message.reply_to,
        "in_reply_to": message.in_reply_to,
        "references": list(message.references),
        "message_id": message.message_id,
        "attachments": [
            {
                "name": one.name,
                "content_type": one.content_type,
                "content": base64.b64encode(one.content).decode(),
            }
            for one in message.attachments
        ],
    }


def outgoing_from(data: Mapping[str, Any]) -> OutgoingMessage:
    """Read a message; what is not required may be absent.

    Raises:
        LookupError, TypeError, ValueError: it is not what `outgoing_data` writes.

    """
    get = data.get
    return OutgoingMessage(
        MessageKind(data["kind"]),
        tuple(data["to"]),
        data["subject"],
        data["text"],
        get("html"),
        tuple(get("cc") or ()),
        tuple(get("bcc") or ()),
        get("reply_to"),
        get("in_reply_to"),
        tuple(get("references") or ()),
        get("message_id"),
        tuple(
            Attachment(
                one["name"],
                one["content_type"],
                base64.b64decode(one["content"], validate=True),
            )
            for one in get("attachments") or ()
        ),
    )


def sent_data(message: SentMessage) -> Json:
    return {
        "id": message.id,
        "gateway": message.gateway,
        "kind": message.kind.value,
        "state": message.state.value,
        "message_id": message.message_id,
        "created_at": message.created_at,
        "size": message.size,
        "recipients": [
            {
                "address": one.address,
                "state": one.state.value,
                "answer": one.answer,
                "attempts": one.attempts,
            }
            for one in message.recipients
        ],
        "next_attempt_at": message.next_attempt_at,
        "expires_at": message.expires_at,
    }


def sent_from(data: Mapping[str, Any]) -> SentMessage:
    return SentMessage(
        data["id"],
        data["gateway"],
        MessageKind(data["kind"]),
        MessageState(data["state"]),
        data["message_id"],
        data["created_at"],
        data["size"],
        tuple(
            Recipient(one["address"], RecipientState(one["state"]), one["answer"], one["attempts"])
            for one in data["recipients"]
        ),
        data["next_attempt_at"],
        data["expires_at"],
    )


def received_data(message: ReceivedMessage) -> Json:
    return {
        "id": message.id,
        "gateway": message.gateway,
        "from": message.sender,
        "to": list(message.to),
        "subject": message.subject,
        "received": message.received_at,
        "size": message.size,
        "message_id": message.message_id,
        "in_reply_to": message.in_reply_to,
        "defects": list(message.defects),
        "resync": message.resync,
    }


def received_from(data: Mapping[str, Any]) -> ReceivedMessage:
    return ReceivedMessage(
        data["id"],
        data["gateway"],
        data["from"],
        tuple(data["to"]),
        data["subject"],
        data["received"],
        data["size"],
        data["message_id"],
        data["in_reply_to"],
        tuple(data["defects"]),
        data["resync"],
    )


def inbox_data(page: InboxPage) -> Json:
    return {
        "messages": [received_data(one) for one in page.messages],
        "cursor": page.cursor,
        "dropped": page.dropped,
    }


def inbox_from(data: Mapping[str, Any]) -> InboxPage:
    messages = tuple(received_from(one) for one in data["messages"])
    return InboxPage(messages, data["cursor"], data["dropped"])


def view_data(message: ReceivedMessage, view: MessageView) -> Json:
    """A message with what it says; its defects are those of both."""
    return {
        **received_data(message),
        "defects": list(dict.fromkeys((*message.defects, *view.defects))),
        "headers": [{"name": name, "value": value} for name, value in view.headers],
        "text": view.text,
        "html": view.html,
        "attachments": [
            {"name": one.name, "content_type": one.content_type, "size": one.size}
            for one in view.attachments
        ],
    }
