"""Listening: connections with deadlines, and an answer even to what is no HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from reconciler.service.http.accept import NO_LIMITS, Limits, accept
from reconciler.service.http.app import make_app
from reconciler.service.http.guard import adorn
from reconciler.service.http.problems import Problem
from reconciler.service.http.routing import Site
from reconciler.service.http.tls import ServerTls

_LINGER_SECONDS = 2.0
_SHUTDOWN_SECONDS = 10.0


@asynccontextmanager
async def listening(
    site: Site,
    listener: socket.socket,
    *,
    tls: ServerTls | None = None,
    limits: Limits = NO_LIMITS,
) -> AsyncIterator[None]:
    """Serve on a socket that listens already, until the `async with` ends."""
    runner = _Runner(
        make_app(site),
        access_log=None,
        auto_decompress=False,
        # counts from when a request is waited for: no header may come more slowly
        keepalive_timeout=site.settings.header_seconds,
        lingering_time=min(_LINGER_SECONDS, site.settings.body_seconds),
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - it is there once the runner was set up
    accepting = asyncio.create_task(
        accept(listener, runner.server, lambda: tls.context if tls else None, limits)
    )
    try:
        yield
    finally:
        accepting.cancel()
        await asyncio.wait([accepting])
        listener.close()
        await runner.cleanup()


class _Protocol(web.RequestHandler):
    """A connection; what it cannot read as HTTP is answered with a problem, and not logged."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        # aiohttp's own would log and send back what came, which may be somebody's token
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        slug = "invalid" if status < 500 else "internal"  # noqa: PLR2004
        detail = "this is not HTTP as it is read here" if slug == "invalid" else "it has a fault"
        response = Problem(status, slug, detail).response()
        adorn(response)
        response.force_close()
        return response


class _Server(web.Server):
    def __init__(self, server: web.Server, options: dict[str, Any]) -> None:
        super().__init__(server.request_handler, request_factory=server.request_factory, **options)
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._options)


class _Runner(web.AppRunner):
    __slots__ = ()

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._kwargs)
