"""A tap on the line to a real server: passes everything on and writes it down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Tap:
    """`sent` is what the client sent, `received` what the server did; `port` is where to connect.

    `connections` counts how often a client connected.
    """

    def __init__(self, target: int) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self.connections = 0
        self.port = 0
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(
            _pass_on(reader, there[1], self.sent), _pass_on(there[0], writer, self.received)
        )


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            record += data
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def tapped(target: int) -> AsyncIterator[Tap]:
    """A tap before the port `target` of this machine."""
    tap = Tap(target)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(tap.serve(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*tasks)
