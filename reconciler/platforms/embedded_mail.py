"""Mail through gateways of an embedded platform: stored and sent in this process.

Nothing keeps sessions here, so what is handed over is sent before the command ends; what cannot be
sent stays queued, and goes along with the next message.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler.clock import Clock, now
from reconciler.errors import Blocked, GatewaysError, InvalidInput, Locked, NotThere
from reconciler.messages import InboxPage, MessageState, OutgoingMessage, SentMessage
from reconciler.model import Actor, Failure, ProtocolType, Target
from reconciler.platforms.embedded import TENANT
from reconciler.service import contact
from reconciler.service.database import has_content
from reconciler.service.mail.accept import accept
from reconciler.service.mail.aging import age
from reconciler.service.mail.decisions import Decisions
from reconciler.service.mail.inbox import Inbox
from reconciler.service.mail.outbox import Outbox
from reconciler.service.mail.queue import Queue, is_queued
from reconciler.service.mail.reading import Archive
from reconciler.service.mail.receiving_once import receive_once
from reconciler.service.mail.retention import drop_old
from reconciler.service.mail.sending import send_once
from reconciler.service.refusals import Notes, Refusals
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import SessionError, SessionSettings, session_for
from reconciler.service.sessions.base import MailSession
from reconciler.service.store import Store
from reconciler.service.work import Held

_LOCK_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.1


def open_mail(target: Target, root: Path) -> "EmbeddedMail":
    """The mail of an embedded target; nothing is opened before it is used."""
    return EmbeddedMail(root / target.database)


class EmbeddedMail:
    """One tenant's mail in one database file, which other commands leave alone meanwhile."""

    def __init__(self, database: Path, *, clock: Clock = now) -> None:
        self._database = database
        self._clock = clock
        self._notes = Notes.open(os.environ)

    async def send(self, name: str, message: OutgoingMessage, *, key: str) -> SentMessage:
        """Store it, and try once to send it and all that waits with it."""
        async with self._service(name) as service:
            sent = await accept(service, TENANT, name, message, key)
            if sent.state is MessageState.QUEUED:
                await self._deliver(service, name, sent.id)
            return await self._find(service, name, sent.id)

    async def sent(self, name: str, message_id: str) -> SentMessage:
        async with self._service(name) as service:
            return await self._find(service, name, message_id)

    async def resend(self, name: str, message_id: str, *, actor: Actor) -> SentMessage:
        async with self._service(name) as service:
            lifetime = service.settings.outbox.lifetime
            sent = await service.write(
                lambda connection: self._decisions(connection, name, actor).resend(
                    message_id, lifetime
                )
            )
            if sent.state is MessageState.QUEUED:
                await self._deliver(service, name, sent.id)
            return await self._find(service, name, sent.id)

    async def give_up(self, name: str, message_id: str, *, actor: Actor) -> SentMessage:
        async with self._service(name) as service:
            return await service.write(
                lambda connection: self._decisions(connection, name, actor).give_up(message_id)
            )

    async def inbox(self, name: str, *, after: str = "", limit: int = 100) -> InboxPage:
        """Fetch what is new, once, and then list; where it cannot be fetched, what there was."""
        async with self._service(name) as service:
            await service.look(lambda connection: _expect_receiving(connection, name))
            failure = await receive_once(service, TENANT, name, self._notes)
            await drop_old(service)
            try:
                page = await service.ask(
                    lambda connection: Inbox(connection, TENANT).listed(name, after, limit)
                )
            except ValueError:
                raise InvalidInput(
                    f"gateway {name!r} has no such cursor", "take the one of a page before"
                ) from None
        return replace(page, unfetched=failure.message) if failure else page

    async def raw(self, name: str, message_id: str) -> AsyncIterator[bytes]:
        async with self._service(name) as service:
            kept = await service.look(
                lambda connection: Inbox(connection, TENANT).find(name, message_id)
            )
            if kept is None or not kept.has_content:
                lacks = "content of that message" if kept else "such message"
                raise NotThere(f"gateway {name!r} has no {lacks}", "gateways inbox lists them")
            async for piece in Archive(service, TENANT).content(kept):
                yield piece

    async def close(self) -> None:
        """Nothing is kept open between two calls."""

    @asynccontextmanager
    async def _service(self, name: str) -> AsyncIterator[Service]:
        """The database, held alone; waits for a command that works on it to finish.

        Raises:
            NotThere: there is no database yet, so no gateway either.
            Locked: somebody else holds it for long.

        """
        if not has_content(self._database):
            raise NotThere(
                f"gateway {name!r} is not on the platform", "apply its declaration first"
            )
        async with AsyncExitStack() as stack:
            yield await self._held_alone(stack)

    async def _held_alone(self, stack: AsyncExitStack) -> Service:
        loop = asyncio.get_running_loop()
        end = loop.time() + _LOCK_SECONDS
        while True:
            settings = ServiceSettings(SessionSettings())
            try:
                return await stack.enter_async_context(
                    Service(self._database, settings, clock=self._clock)
                )
            except Locked as error:
                if loop.time() >= end:
                    raise Locked(
                        error.message,
                        "if a gateway service runs on it, use an http target that names it",
                    ) from None
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _find(self, service: Service, name: str, message_id: str) -> SentMessage:
        found = await service.look(
            lambda connection: Outbox(connection, TENANT).find(name, message_id)
        )
        if found is None:
            raise NotThere(f"gateway {name!r} has no such message", "its id is what send printed")
        return found

    def _decisions(self, connection: sqlite3.Connection, name: str, actor: Actor) -> Decisions:
        return Decisions(connection, TENANT, name, actor, self._clock())

    # sending

    async def _deliver(self, service: Service, name: str, message_id: str) -> None:
        """Send what is due; why it could not be tried is the answer of a message that waits."""
        await age(service)
        try:
            failure = await self._try(service, name)
        except GatewaysError as error:  # such as a key that is not there: the message is stored
            why = error.message
        else:
            why = failure.message if failure else ""
        if why:
            await service.write(lambda connection: _explain(connection, name, message_id, why))

    async def _try(self, service: Service, name: str) -> Failure | None:
        """Log in, send, and store what became of the contact."""
        login = await service.write(lambda connection: self._login(service, connection, name))
        failure = login.instead
        if failure is None:
            session = session_for(login.actual.gateway, login.password)
            try:
                await session.open()
            except SessionError as error:
                failure = error.failure
            await self._record(service, login, failure)
            if failure is None:
                with suppress(SessionError):  # told in the state of each message
                    await self._send(service, login, session)
                await session.close()
        return failure

    async def _send(self, service: Service, login: contact.Login, session: MailSession) -> None:
        gateway, password = login.actual.gateway, login.password

        @asynccontextmanager
        async def another() -> AsyncIterator[MailSession]:
            one = session_for(gateway, password)
            await one.open()
            try:
                yield one
            finally:
                await one.close()

        await send_once(Held(service, TENANT, login.actual, session, another))

    async def _record(
        self, service: Service, login: contact.Login, failure: Failure | None
    ) -> None:
        await service.write(
            lambda connection: contact.record(
                self._refusals(connection), login, failure, self._clock
            )
        )

    def _login(self, service: Service, connection: sqlite3.Connection, name: str) -> contact.Login:
        refusals = self._refusals(connection)
        actual = refusals.store.find(name)
        if actual is None:
            raise NotThere(f"gateway {name!r} is not on the platform", "apply its declaration")
        return contact.prepare(refusals, service.vault, actual)

    def _refusals(self, connection: sqlite3.Connection) -> Refusals:
        return Refusals(Store(connection, TENANT), self._notes)


def _expect_receiving(connection: sqlite3.Connection, name: str) -> None:
    actual = Store(connection, TENANT).find(name)
    if actual is None:
        raise NotThere(f"gateway {name!r} is not on the platform", "apply its declaration")
    if actual.gateway.protocol_type is ProtocolType.SMTP:
        raise Blocked(
            f"gateway {name!r} is one for SMTP: it sends, and receives nothing",
            "name a gateway for IMAP or POP3",
        )


def _explain(connection: sqlite3.Connection, name: str, message_id: str, why: str) -> None:
    queue = Queue(connection, TENANT, name)
    waiting, due = queue.find(message_id), queue.next_due()
    if waiting and due and not waiting.owner:
        recipients = [
            replace(one, answer=why) if is_queued(one) else one for one in waiting.recipients
        ]
        queue.record(waiting, recipients, now=due, due=due)
