"""A service with one SMTP gateway, and the sending of its mail through a session of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconciler.messages import MessageKind, MessageState, OutgoingMessage, SentMessage
from reconciler.model import (
    Actor,
    ActualGateway,
    Cause,
    DesiredGateway,
    Gateway,
    Place,
    Secret,
)
from reconciler.service.feed import About
from reconciler.service.mail.accept import accept
from reconciler.service.mail.decisions import Decisions
from reconciler.service.mail.outbox import Outbox
from reconciler.service.mail.sending import send
from reconciler.service.mail.settings import OutboxSettings
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import Deadlines, SessionError, SessionSettings, session_for
from reconciler.service.sessions.base import MailSession
from reconciler.service.store import Store
from reconciler.service.work import Held
from reconciler.service.writes import Asked, Writes

TENANT = "acme"
NAME = "support-out"
DEADLINE = 20.0
ACTOR = Actor("tester")

HASTY = Deadlines(
    dns=5,
    connect=5,
    tls=5,
    greeting=5,
    command=1,
    close=0.4,
    overall=5,
    envelope=1,
    data=1,
    block=1,
    verdict=1,
)
"""For servers that are stuck: a test waits a second for them."""


def message(to: str | Sequence[str] = "alice@example.test", **fields: Any) -> OutgoingMessage:
    given = {"subject": "Your question", "text": "Hello,\nwe have an answer.\n", **fields}
    receivers = (to,) if isinstance(to, str) else tuple(to)
    return OutgoingMessage(given.pop("kind", MessageKind.AGENT), receivers, **given)


@dataclass
class Office:
    """A service with a gateway, and who keeps its session."""

    service: Service
    gateway: Gateway
    password: Secret
    sessions: SessionSettings
    opened: list[MailSession] = field(default_factory=list)
    held: Held | None = None

    async def accept(self, asked: OutgoingMessage, key: str) -> SentMessage:
        return await accept(self.service, TENANT, NAME, asked, key)

    async def sent(self, message_id: str) -> SentMessage:
        found = await self.service.look(
            lambda connection: Outbox(connection, TENANT).find(NAME, message_id)
        )
        assert found
        return found

    async def until(self, message_id: str, condition: Callable[[SentMessage], bool]) -> SentMessage:
        async with asyncio.timeout(DEADLINE):
            while not condition(found := await self.sent(message_id)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found

    async def until_state(self, message_id: str, state: MessageState) -> SentMessage:
        return await self.until(message_id, lambda one: one.state is state)

    def wake(self) -> None:
        """Have the work look at the queue, as when a clock was put forward."""
        if self.held:
            self.held.wake.set()

    async def until_open(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while self.held is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def resend(self, message_id: str) -> SentMessage:
        return await self._decided(
            lambda decisions: decisions.resend(message_id, self.service.settings.outbox.lifetime)
        )

    async def give_up(self, message_id: str) -> SentMessage:
        return await self._decided(lambda decisions: decisions.give_up(message_id))

    async def _decided(self, decide: Callable[[Decisions], SentMessage]) -> SentMessage:
        sent = await self.service.write(
            lambda connection: decide(
                Decisions(connection, TENANT, NAME, ACTOR, self.service.clock())
            )
        )
        self.service.feed.tell(About.OUTBOX, TENANT, NAME)
        return sent

    async def actual(self) -> ActualGateway:
        found = await self.service.look(lambda connection: Store(connection, TENANT).find(NAME))
        assert found
        return found

    async def disconnect(self, cause: Cause = Cause.BY_HAND) -> None:
        await self.service.write(
            lambda connection: self._writes(connection).disconnect(
                NAME, Asked(ACTOR, f"disconnect {cause}", None), cause=cause
            )
        )

    async def rebuild(self) -> None:
        await self.service.write(
            lambda connection: self._writes(connection).rebuild(NAME, Asked(ACTOR, "rebuild", None))
        )

    def _writes(self, connection: Any) -> Writes:
        return Writes(Store(connection, TENANT), self.service.vault, "ours", self.service.clock)

    async def create(self, key: str = "create") -> None:
        desired = DesiredGateway(self.gateway, lambda: Place("mail.yaml"), password=self.password)
        await self.service.write(
            lambda connection: self._writes(connection).create(desired, Asked(ACTOR, key, None))
        )

    @asynccontextmanager
    async def session(self) -> AsyncIterator[MailSession]:
        session = session_for(self.gateway, self.password, self.sessions)
        await session.open()
        self.opened.append(session)
        try:
            yield session
        finally:
            await session.close()

    async def work_once(self) -> float:
        """Open a session and let the work have it until it ends."""
        async with self.session() as session:
            held = Held(self.service, TENANT, await self.actual(), session, self.session)
            self.held = held
            with self.service.feed.listen(About.OUTBOX) as listener:

                async def wake() -> None:
                    while True:
                        await listener.next()
                        held.wake.set()

                waking = asyncio.create_task(wake())
                try:
                    return await send(held)
                finally:
                    waking.cancel()

    async def keep_working(self) -> None:
        """As a supervisor does, with no pause."""
        while True:
            with suppress(SessionError):
                await self.work_once()
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[asyncio.Task[None]]:
        """Sessions are opened and worked with for as long as this lasts."""
        self.held = None
        task = asyncio.create_task(self.keep_working())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()


@asynccontextmanager
async def office(
    folder: Path,
    gateway: Gateway,
    password: Secret,
    *,
    outbox: OutboxSettings | None = None,
    deadlines: Deadlines | None = None,
    **service: Any,
) -> AsyncIterator[Office]:
    """A service on `folder`/platform.db, whose gateway is made unless it is there."""
    sessions = SessionSettings(deadlines or Deadlines())
    settings = ServiceSettings(sessions, outbox=outbox or OutboxSettings())
    async with Service(folder / "platform.db", settings, environment={}, **service) as running:
        found = Office(running, replace(gateway, name=NAME), password, sessions)
        there = await running.look(lambda connection: Store(connection, TENANT).row(NAME))
        if there is None:
            await found.create()
        yield found
