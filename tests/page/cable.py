"""A cable between browser and service that can be cut and mended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Cable:
    """Carries bytes both ways from `url`, a port of its own, to a service."""

    to: int
    url: str = ""
    _server: asyncio.Server | None = None
    _carrying: set[asyncio.Task[None]] = field(default_factory=set)

    async def mend(self) -> None:
        """Let connections through, at the same port as before."""
        port = urlsplit(self.url).port or 0
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def cut(self) -> None:
        """End every connection, and take no other."""
        if self._server:
            self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._carrying.add(task)
        try:
            far, forth = await asyncio.open_connection("127.0.0.1", self.to)
            with suppress(ConnectionError, asyncio.CancelledError):
                async with asyncio.TaskGroup() as both:
                    both.create_task(_carry(near, forth))
                    both.create_task(_carry(far, back))
            forth.transport.abort()
        finally:
            back.transport.abort()
            self._carrying.discard(task)


async def _carry(source: asyncio.StreamReader, drain: asyncio.StreamWriter) -> None:
    while piece := await source.read(65_536):
        drain.write(piece)
        await drain.drain()
    if drain.can_write_eof():
        drain.write_eof()


@asynccontextmanager
async def cable(url: str) -> AsyncIterator[Cable]:
    laid = Cable(urlsplit(url).port or 0)
    await laid.mend()
    try:
        yield laid
    finally:
        await laid.cut()
