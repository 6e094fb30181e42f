"""/healthz, /readyz and /metrics: for programs that watch over the service, without a token."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final, Generic, TypeVar

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from reconciler.errors import GatewaysError
from reconciler.service.http.routing import OpenRoute, Site
from reconciler.service.observe.exposition import exposition
from reconciler.service.observe.facts import Facts, gather
from reconciler.service.observe.health import OK, alive, readiness

T = TypeVar("T")

FRESH_SECONDS: Final = 1.0
"""Whoever asks within a second is told the same: anybody may ask, and as often as he likes."""


class Health:
    """The three paths of one application."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ready = _Fresh(self._readiness)
        self._metrics = _Fresh(self._exposition)

    def routes(self) -> tuple[OpenRoute, ...]:
        return (
            OpenRoute("GET", "/healthz", self.healthz),
            OpenRoute("GET", "/readyz", self.readyz),
            OpenRoute("GET", "/metrics", self.metrics),
        )

    async def healthz(self, _request: web.Request, _site: Site) -> web.StreamResponse:
        fine = alive(self._site.service)
        return _told("alive" if fine else "stuck", fine=fine)

    async def readyz(self, _request: web.Request, _site: Site) -> web.StreamResponse:
        checks = await self._ready.get()
        fine = all(word == OK for word in checks.values())
        return _told("ready" if fine else "not ready", fine=fine, checks=checks)

    async def metrics(self, _request: web.Request, _site: Site) -> web.StreamResponse:
        text = await self._metrics.get()
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _readiness(self) -> dict[str, str]:
        site = self._site
        found = await readiness(site.service, site.supervisor, ending=site.closing.is_set())
        return dict(found)

    async def _exposition(self) -> bytes:
        service = self._site.service
        facts: Facts | None = None
        # what is counted here is worth telling all the same, and that this failed
        with suppress(GatewaysError):
            facts = await service.ask(
                lambda connection: gather(connection, service.database, service.clock())
            )
        counts = self._site.supervisor.counts()
        return await asyncio.to_thread(exposition, service.metrics, counts, facts, service.clock())


def _told(status: str, *, fine: bool, **more: object) -> web.Response:
    code = HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE
    return web.json_response({"status": status, **more}, status=code)


class _Fresh(Generic[T]):
    """An answer that is made at most once a second, for however many that ask."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._made: tuple[float, T] | None = None

    async def get(self) -> T:
        loop = asyncio.get_running_loop()
        async with self._making:
            if self._made is None or loop.time() - self._made[0] >= FRESH_SECONDS:
                self._made = (loop.time(), await self._make())
            return self._made[1]
