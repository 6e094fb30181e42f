"""The gateway service on a free port of this machine, in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from reconciler.clock import Clock, now
from reconciler.model import ActualGateway
from reconciler.service.access import Role, Tokens
from reconciler.service.http.accept import bound
from reconciler.service.http.listen import listening
from reconciler.service.http.routing import HttpSettings, Site
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import SessionSettings
from reconciler.service.store import Store
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.tokens import Token

LOOPBACK = ServiceSettings(SessionSettings(private_hosts=True))


class Idle(Supervisor):
    """Keeps no session: a gateway that is connecting stays so."""

    async def run(self) -> None:
        self.running = True
        await asyncio.Event().wait()

    async def settled(self, tenant: str, name: str, *, seconds: float) -> ActualGateway:
        found = await self._service.look(lambda connection: Store(connection, tenant).find(name))
        assert found
        return found


@dataclass(frozen=True)
class Running:
    """`http` goes to `url` and follows no redirect; what it sends is up to the test."""

    url: str
    site: Site
    http: aiohttp.ClientSession

    async def token(self, role: str, tenant: str = "acme", **fields: Any) -> Token:
        """A fresh token; `origin` and `days` may be given."""
        given = {"origin": self.url, "days": 1, **fields}
        return await self.site.service.write(
            lambda connection: Tokens(connection, self.site.service.clock).make(
                tenant, Role(role), **given
            )
        )

    async def headers(self, role: str, tenant: str = "acme") -> dict[str, str]:
        """What a request with a fresh token carries."""
        token = await self.token(role, tenant)
        return {"Authorization": f"Bearer {token.text().reveal()}"}


@asynccontextmanager
async def running(
    folder: Path,
    *,
    supervise: Callable[[Service], Supervisor] = Idle,
    settings: ServiceSettings = LOOPBACK,
    limits: HttpSettings | None = None,
    clock: Clock = now,
) -> AsyncIterator[Running]:
    """A service on the database `folder`/platform.db, its supervisor and its API.

    With `supervise=Supervisor` sessions are kept; private hosts are allowed unless told otherwise.
    """
    async with Service(folder / "platform.db", settings, clock=clock, environment={}) as service:
        site = Site(service, supervise(service), limits or HttpSettings())
        keeping = asyncio.create_task(site.supervisor.run())
        try:
            listener = bound("127.0.0.1", 0)
            async with listening(site, listener):
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                async with aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar()) as http:
                    yield Running(url, site, http)
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
