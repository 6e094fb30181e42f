"""Taking a message over: when this returns, it is on disk and will be sent, or was refused."""

import asyncio
import hashlib
import json
import sqlite3
from typing import Final

from reconciler.clock import exact, stamp
from reconciler.errors import Blocked, KeyReused, NotThere, PlatformUnavailable
from reconciler.messages import OutgoingMessage, SentMessage
from reconciler.model import Cause, ProtocolType
from reconciler.service.feed import About
from reconciler.service.mail.compose import Composed, Letterhead, compose
from reconciler.service.mail.outbox import Accepted, Outbox, Queued
from reconciler.service.mail.settings import OutboxSettings
from reconciler.service.service import Service

_ID_LETTERS: Final = 32
_LONG: Final = 64 * 1024
"""Characters and bytes from which on a message is made on a thread, and not on the loop."""


class QueueFull(PlatformUnavailable):
    """As much waits as may wait; `for_space` says that it is too many bytes, else messages."""

    def __init__(self, message: str, *, for_space: bool) -> None:
        super().__init__(message, "see whether the gateway can send, then try again later")
        self.for_space = for_space


async def accept(
    service: Service, tenant: str, name: str, message: OutgoingMessage, key: str
) -> SentMessage:
    """Store a message for sending; for a key that was used already, say what became of that one.

    A gateway that is disconnected takes messages and holds them until it is connected again.

    Raises:
        UnfitMessage: it cannot be sent as it is.
        NotThere: there is no such gateway.
        Blocked: the gateway cannot send.
        KeyReused: the key was used for another message.
        QueueFull: too much waits already.

    """
    now, settings = service.clock(), service.settings.outbox
    long = _is_long(message)
    wanted = Accepted(
        _id_of(tenant, name, key),
        name,
        message.kind,
        await asyncio.to_thread(_digest, message) if long else _digest(message),
        stamp(now),
        stamp(now + settings.lifetime),
        exact(now),
    )

    def make(head: Letterhead) -> Composed:
        return compose(head, message, settings.limits, unique=wanted.id, now=now)

    composed: Composed | None = None
    if long:
        found = await service.look(
            lambda connection: (
                _repeated(connection, tenant, wanted) or _letterhead(connection, tenant, name)
            )
        )
        if isinstance(found, SentMessage):
            return found
        composed = await asyncio.to_thread(make, found)

    def store(connection: sqlite3.Connection) -> SentMessage:
        repeated = _repeated(connection, tenant, wanted)
        if repeated:
            return repeated
        made = composed or make(_letterhead(connection, tenant, name))
        return _stored(connection, tenant, wanted, made, settings)

    sent = await service.write(store)
    service.feed.tell(About.OUTBOX, tenant, name)
    return sent


def _repeated(connection: sqlite3.Connection, tenant: str, wanted: Accepted) -> SentMessage | None:
    outbox = Outbox(connection, tenant)
    request = outbox.request_of(wanted.id)
    if request is not None and request != wanted.request:
        raise KeyReused(
            f"the key of this message through gateway {wanted.gateway!r} was used for another one",
            "give every message a key of its own, and the same only to repeat it unchanged",
        )
    return outbox.find(wanted.gateway, wanted.id) if request else None


def _stored(
    connection: sqlite3.Connection,
    tenant: str,
    wanted: Accepted,
    composed: Composed,
    settings: OutboxSettings,
) -> SentMessage:
    name, outbox = wanted.gateway, Outbox(connection, tenant)
    outbox.add(wanted, composed)
    _check_room(name, outbox.count(name, 1, len(composed.content)), settings)
    sent = outbox.find(name, wanted.id)
    assert sent  # noqa: S101 - it was added just now
    return sent


def _check_room(name: str, queued: Queued, settings: OutboxSettings) -> None:
    if queued.messages > settings.queue_messages:
        raise QueueFull(
            f"{settings.queue_messages:,} messages of gateway {name!r} wait to be sent, and no "
            "more may",
            for_space=False,
        )
    if queued.bytes > settings.queue_bytes:
        raise QueueFull(
            f"the messages of gateway {name!r} that wait to be sent take all the space they may",
            for_space=True,
        )


def _letterhead(connection: sqlite3.Connection, tenant: str, name: str) -> Letterhead:
    """What messages of a gateway begin with, if it can send."""
    row = connection.execute(
        "SELECT protocol_type, cause, default_email_address, default_user_name, encoding_mode "
        "FROM gateways WHERE tenant = ? AND name = ?",
        (tenant, name),
    ).fetchone()
    if row is None:
        raise NotThere(f"gateway {name!r} is not on the platform", "gateways status lists them")
    protocol, cause, address, user_name, charset = row
    if protocol != ProtocolType.SMTP.value:
        raise Blocked(
            f"gateway {name!r} receives mail over {protocol} and sends none",
            "send through a gateway with protocol_type SMTP",
        )
    if cause == Cause.UNDECLARED.value:
        raise Blocked(
            f"gateway {name!r} is no longer declared, and its password was erased",
            "declare it again and apply, or send through another one",
        )
    if address is None:
        raise Blocked(
            f"gateway {name!r} has no address to send from",
            "declare its default_email_address, then apply",
        )
    return Letterhead(address, user_name, charset)


def _is_long(message: OutgoingMessage) -> bool:
    size = len(message.text) + len(message.html or "")
    return size + sum(len(one.content) for one in message.attachments) > _LONG


def _id_of(tenant: str, name: str, key: str) -> str:
    """The same for the same key; of other tenants and gateways it is another."""
    text = json.dumps([tenant, name, key])
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LETTERS]


def _digest(message: OutgoingMessage) -> str:
    """Tells one message from another; lengths stand first, so that nothing can shift."""
    texts = [
        message.kind.value,
        message.to,
        message.cc,
        message.bcc,
        message.subject,
        message.text,
        message.html,
        message.reply_to,
        message.in_reply_to,
        message.references,
        message.message_id,
        [(one.name, one.content_type, len(one.content)) for one in message.attachments],
    ]
    digest = hashlib.sha256(json.dumps(texts).encode())
    for one in message.attachments:
        digest.update(one.content)
    return digest.hexdigest()
