"""Taking a message over: when this returns, it is on disk and will be sent, or was refused."""

import asyncio
import hashlib
import json
import sqlite3
from dataclasses import dataclass
from typing import Final

from reconciler.clock import exact, stamp
from reconciler.errors import Blocked, KeyReused, NotThere, PlatformUnavailable
from reconciler.messages import OutgoingMessage, SentMessage
from reconciler.model import Cause, ProtocolType, StatusState
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


@dataclass(frozen=True, slots=True)
class _Sender:
    """A gateway that can send; `held` says that it is disconnected now."""

    head: Letterhead
    held: bool


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
    asked = _Asked(service, tenant, name, message, key)
    sent = await (asked.accept_long() if _is_long(message) else asked.accept())
    service.feed.tell(About.OUTBOX, tenant, name)
    return sent


class _Asked:
    """What one call of `accept` wants."""

    def __init__(
        self, service: Service, tenant: str, name: str, message: OutgoingMessage, key: str
    ) -> None:
        self._service = service
        self._tenant = tenant
        self._name = name
        self._message = message
        self._id = _id_of(tenant, name, key)
        self._now = service.clock()

    async def accept(self) -> SentMessage:
        digest = _digest(self._message)

        def job(connection: sqlite3.Connection) -> SentMessage:
            repeated = self._repeated(connection, digest)
            if repeated:
                return repeated
            sender = self._sender(connection)
            return self._stored(connection, digest, sender, self._composed(sender))

        return await self._service.write(job)

    async def accept_long(self) -> SentMessage:
        """The same; what takes long is done on a thread, so that nobody else has to wait."""
        digest = await asyncio.to_thread(_digest, self._message)
        found = await self._service.look(
            lambda connection: self._repeated(connection, digest) or self._sender(connection)
        )
        if isinstance(found, SentMessage):
            return found
        composed = await asyncio.to_thread(self._composed, found)
        return await self._service.write(
            lambda connection: (
                self._repeated(connection, digest)
                or self._stored(connection, digest, found, composed)
            )
        )

    def _composed(self, sender: _Sender) -> Composed:
        limits = self._service.settings.outbox.limits
        return compose(sender.head, self._message, limits, unique=self._id, now=self._now)

    # in a job of the database

    def _repeated(self, connection: sqlite3.Connection, digest: str) -> SentMessage | None:
        """What became of the message that the key was used for already."""
        outbox = Outbox(connection, self._tenant)
        request = outbox.request_of(self._id)
        if request is not None and request != digest:
            raise KeyReused(
                f"the key of this message through gateway {self._name!r} was used for another one",
                "give every message a key of its own, and the same only to repeat it unchanged",
            )
        return outbox.find(self._name, self._id) if request else None

    def _sender(self, connection: sqlite3.Connection) -> _Sender:
        row = connection.execute(
            "SELECT protocol_type, status, cause, default_email_address, default_user_name, "
            "encoding_mode FROM gateways WHERE tenant = ? AND name = ?",
            (self._tenant, self._name),
        ).fetchone()
        if row is None:
            raise NotThere(
                f"gateway {self._name!r} is not on the platform", "gateways status lists them"
            )
        protocol, status, cause, address, user_name, charset = row
        _check_sends(self._name, protocol, cause, address)
        held = status == StatusState.DISCONNECTED.value
        return _Sender(Letterhead(address, user_name, charset), held)

    def _stored(
        self, connection: sqlite3.Connection, digest: str, sender: _Sender, composed: Composed
    ) -> SentMessage:
        outbox, settings = Outbox(connection, self._tenant), self._service.settings.outbox
        accepted = Accepted(
            self._id,
            self._name,
            self._message.kind,
            digest,
            stamp(self._now),
            stamp(self._now + settings.lifetime),
            exact(self._now),
        )
        sent = outbox.add(accepted, composed, held=sender.held)
        _check_room(self._name, outbox.count(self._name, 1, sent.size), settings)
        return sent


def _check_sends(name: str, protocol: str, cause: str | None, address: str | None) -> None:
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
