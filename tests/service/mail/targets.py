"""A target of webhooks on a free port of this machine, which answers as a test tells it."""

import asyncio
import json
import sqlite3
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from reconciler.clock import Clock, now, stamp
from reconciler.model import Secret
from reconciler.service.feed import About
from reconciler.service.mail.inbox import Arrived, Inbox, Summary
from reconciler.service.mail.webhook_limits import Patience, Rooms
from reconciler.service.mail.webhook_queue import Webhook
from reconciler.service.mail.webhook_store import Webhooks
from reconciler.service.mail.webhook_target import Caller
from reconciler.service.mail.webhooks import run
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import SessionSettings

T = TypeVar("T")

SECONDS = 20.0
HASTY = Patience((0.05, 0.1, 0.2, 0.4), first=0.05, last=0.2)
LOOPBACK = ServiceSettings(SessionSettings(private_hosts=True))

Answering = Callable[["Told"], Awaitable[web.StreamResponse | int]]


@dataclass(frozen=True)
class Told:
    """One request that reached the target; `event` is its body, read."""

    headers: dict[str, str]
    body: bytes
    event: dict[str, Any]

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def subject(self) -> str:
        return str(self.event["data"]["subject"])


@dataclass
class Target:
    """`answering` decides on the answer: a status, or a whole response."""

    urls: list[str]
    answering: Answering
    told: list[Told] = field(default_factory=list)
    now: int = 0
    most_at_once: int = 0

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def subjects(self) -> list[str]:
        return [one.subject for one in self.told]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = Told(headers, body, json.loads(body))
        self.told.append(told)
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        try:
            answer = await self.answering(told)
        finally:
            self.now -= 1
        return web.Response(status=answer, text="…") if isinstance(answer, int) else answer

    async def until(self, count: int) -> list[Told]:
        """Wait until so many requests have come."""

        async def enough() -> list[Told] | None:
            return self.told if len(self.told) >= count else None

        return await eventually(enough)


async def fine(_: Told) -> int:
    return 204


@asynccontextmanager
async def target(
    answering: Answering = fine,
    *,
    tls: ssl.SSLContext | None = None,
    hosts: Sequence[str] = ("127.0.0.1",),
) -> AsyncIterator[Target]:
    app = web.Application()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    made = Target([], answering)
    app.router.add_route("*", "/{path:.*}", made.handle)
    await runner.setup()
    try:
        for host in hosts:
            await web.TCPSite(runner, host, 0, ssl_context=tls).start()
        scheme = "https" if tls else "http"
        made.urls = [f"{scheme}://{host}:{port}/mail" for host, port in runner.addresses]
        yield made
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Post:
    """A service that announces, and what a test does to it."""

    service: Service

    async def register(
        self, url: str, gateway: str | None = None, tenant: str = "acme"
    ) -> tuple[Webhook, Secret]:
        webhook, secret, _ = await self.service.write(
            lambda connection: self._webhooks(connection, tenant).register(url, gateway)
        )
        self.service.feed.tell(About.WEBHOOK, tenant, "")
        return webhook, secret

    async def arrive(
        self,
        *subjects: str,
        gateway: str = "support",
        tenant: str = "acme",
        then: Exception | None = None,
    ) -> None:
        """Mail comes in, one message after the other; `then` fails in the same transaction."""
        for subject in subjects:
            summary = Summary("a@example.org", ("b@example.com",), subject)
            arrived = Arrived(f"1:{subject}", "", 9, summary, b"Subject: x")

            def job(connection: sqlite3.Connection, arrived: Arrived = arrived) -> None:
                now = stamp(self.service.clock())
                Inbox(connection, tenant).list_(gateway, arrived, now)
                if then:
                    raise then

            await self.service.write(job)
            self.service.feed.tell(About.INBOX, tenant, gateway)

    async def webhook(self, webhook: Webhook) -> Webhook | None:
        return await self.service.look(
            lambda connection: self._webhooks(connection, webhook.tenant).find(webhook.id)
        )

    async def rows(self, columns: str = "message, state, attempts, answer") -> list[Any]:
        """What is not told yet."""
        return await self.service.look(
            lambda connection: connection.execute(
                f"SELECT {columns} FROM deliveries ORDER BY number"  # noqa: S608 - a test's own
            ).fetchall()
        )

    async def failing(self, webhook: Webhook) -> Webhook:
        """Wait until an attempt has failed for which the target is to blame, or it was disabled."""

        async def found() -> Webhook | None:
            seen = await self.webhook(webhook)
            return seen if seen and (seen.failures or seen.disabled_at) else None

        return await eventually(found)

    async def settled(self) -> None:
        """Wait until nothing is left to be told."""

        async def empty() -> bool | None:
            return True if not await self.rows() else None

        await eventually(empty)

    def _webhooks(self, connection: Any, tenant: str) -> Webhooks:
        return Webhooks(connection, tenant, self.service.vault, self.service.clock)


@asynccontextmanager
async def announcing(
    folder: Path,
    *,
    patience: Patience = HASTY,
    caller: Caller | None = None,
    rooms: Rooms | None = None,
    clock: Clock = now,
) -> AsyncIterator[Post]:
    """A service on the database `folder`/platform.db that announces what arrives."""
    async with Service(folder / "platform.db", LOOPBACK, clock=clock, environment={}) as service:
        telling = asyncio.create_task(run(service, caller=caller, patience=patience, rooms=rooms))
        try:
            yield Post(service)
        finally:
            telling.cancel()
            await asyncio.wait([telling])
            if not telling.cancelled():
                telling.result()


async def eventually(ask: Callable[[], Awaitable[T | None]]) -> T:
    async with asyncio.timeout(SECONDS):
        while (found := await ask()) is None:  # noqa: ASYNC110 - what is waited for is elsewhere
            await asyncio.sleep(0.005)
    return found
