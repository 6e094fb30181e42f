"""A service with one receiving gateway, and the reading of its mailbox through a session."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from reconciler.messages import InboxPage, ReceivedMessage
from reconciler.model import Actor, ActualGateway, DesiredGateway, Gateway, Place, Secret
from reconciler.service.mail.inbox import Inbox
from reconciler.service.mail.receiving_once import LOOKS
from reconciler.service.mail.receiving_settings import ReceivingSettings
from reconciler.service.mail.works import WORKS
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import Deadlines, SessionError, SessionSettings, session_for
from reconciler.service.sessions.base import MailSession
from reconciler.service.store import Store
from reconciler.service.work import Held, Soon
from reconciler.service.writes import Asked, Writes

TENANT = "acme"
NAME = "support-in"
DEADLINE = 30.0
ACTOR = Actor("tester")

QUICK = ReceivingSettings(poll_seconds=0.05, pause_seconds=0.1, reserve_bytes=0)
"""Looks again at once."""

HASTY = Deadlines(dns=5, connect=5, tls=5, greeting=5, command=0.5, close=0.5, overall=5)
"""For servers that are stuck: a test waits half a second for them."""


def mail(number: int = 1, body: str = "Hello.\r\n", **headers: str) -> bytes:
    """A message as a server has it; `number` makes it one of its own."""
    now = format_datetime(datetime.now(UTC))
    given = {
        "Received": f"from there by here with id {number}; {now}",
        "From": "Alice B. <Alice.B@Example.COM>",
        "To": "support@example.test",
        "Subject": f"Question {number}",
        "Date": now,
        "Message-ID": f"<{number}@example.com>",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return "".join(f"{name}: {value}\r\n" for name, value in given.items()).encode() + (
        b"\r\n" + body.encode()
    )


@dataclass
class Desk:
    """A service with a gateway that receives. `errors` are why sessions were lost."""

    service: Service
    gateway: Gateway
    password: Secret
    errors: list[SessionError] = field(default_factory=list)
    held: Held | None = None
    rounds: int = 0

    @property
    def name(self) -> str:
        return self.gateway.name

    async def page(self, after: int = 0, limit: int = 100_000) -> InboxPage:
        return await self.service.look(
            lambda found: Inbox(found, TENANT).page(self.name, after, limit)
        )

    async def messages(self) -> tuple[ReceivedMessage, ...]:
        return (await self.page()).messages

    async def subjects(self) -> list[str]:
        return [one.subject for one in await self.messages()]

    async def raw(self, message: ReceivedMessage) -> bytes:
        kept = await self.service.look(
            lambda found: Inbox(found, TENANT).find(self.name, message.id)
        )
        assert kept
        pieces: list[bytes] = []
        while piece := await self.service.look(
            lambda found: Inbox(found, TENANT).piece(kept.number, len(pieces))
        ):
            pieces.append(piece)
        return b"".join(pieces)

    async def digests(self) -> list[str]:
        """What is stored of each message, by its SHA-256."""
        return [hashlib.sha256(await self.raw(one)).hexdigest() for one in await self.messages()]

    async def until(self, condition: Callable[[tuple[ReceivedMessage, ...]], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition(await self.messages()):  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)

    async def until_count(self, count: int) -> tuple[ReceivedMessage, ...]:
        async with asyncio.timeout(DEADLINE):
            while await self.count() < count:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)
        return await self.messages()

    async def until_errors(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.errors) < count:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)

    async def count(self) -> int:
        found = await self.service.look(
            lambda found: found.execute(
                "SELECT count(*) FROM inbox WHERE complete = 1 AND gateway = ?", (self.name,)
            ).fetchone()
        )
        return int(found[0])

    async def rest(self, rounds: int = 2) -> None:
        """Until sessions have been opened so many times more."""
        wanted = self.rounds + rounds
        async with asyncio.timeout(DEADLINE):
            while self.rounds < wanted:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)

    async def actual(self) -> ActualGateway:
        found = await self.service.look(lambda found: Store(found, TENANT).find(self.name))
        assert found
        return found

    async def execute(self, statement: str, *values: Any) -> list[Any]:
        return await self.service.write(lambda found: found.execute(statement, values).fetchall())

    @asynccontextmanager
    async def session(self) -> AsyncIterator[MailSession]:
        session = session_for(self.gateway, self.password, self.service.settings.sessions)
        await session.open()
        try:
            yield session
        finally:
            await session.close()

    async def work_once(self) -> float | Soon:
        """Open a session and let the work have it until it ends."""
        async with self.session() as session:
            self.rounds += 1
            self.held = Held(self.service, TENANT, await self.actual(), session, self.session)
            return await WORKS[self.gateway.protocol_type](self.held)

    async def keep_working(self) -> None:
        """As a supervisor does, with hardly a pause."""
        while True:
            try:
                await self.work_once()
            except SessionError as error:
                self.errors.append(error)
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[asyncio.Task[None]]:
        """Sessions are opened and worked with for as long as this lasts."""
        task = asyncio.create_task(self.keep_working())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def look_once(self) -> bool:
        """One session, until it has nothing more to do."""
        async with self.session() as session:
            self.rounds += 1
            self.held = Held(self.service, TENANT, await self.actual(), session, self.session)
            return await LOOKS[self.gateway.protocol_type](self.held)


@asynccontextmanager
async def desk(
    folder: Path,
    gateway: Gateway,
    password: Secret,
    *,
    receiving: ReceivingSettings = QUICK,
    deadlines: Deadlines | None = None,
    **service: Any,
) -> AsyncIterator[Desk]:
    """A service on `folder`/platform.db, whose gateway is made unless it is there."""
    sessions = SessionSettings(deadlines or Deadlines())
    settings = ServiceSettings(sessions, receiving=receiving)
    async with Service(folder / "platform.db", settings, environment={}, **service) as running:
        found = Desk(running, replace(gateway, name=NAME), password)
        there = await running.look(lambda connection: Store(connection, TENANT).row(found.name))
        if there is None:
            await create(found)
        yield found


async def create(desk: Desk) -> None:
    desired = DesiredGateway(desk.gateway, lambda: Place("mail.yaml"), password=desk.password)

    def job(connection: Any) -> None:
        store = Store(connection, TENANT)
        writes = Writes(store, desk.service.vault, "ours", desk.service.clock)
        writes.create(desired, Asked(ACTOR, f"create {desk.name}", None))

    await desk.service.write(job)
