"""A proxy between the client and the service that does what networks and other proxies do.

What one exchange suffers is a `Fault`; which exchange suffers which, a rule of the test's. Names
are those of toxiproxy where it has one.
"""

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"(?im)^content-length:\s*(\d+)")
_CHUNKED: Final = re.compile(rb"(?im)^transfer-encoding:\s*chunked")
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_PATIENCE: Final = 30.0


@dataclass(frozen=True)
class Exchange:
    """A request as the proxy took it, with what the service said to it, where it was asked."""

    method: str
    path: str
    request: bytes
    reply: bytes = b""

    @property
    def writes(self) -> bool:
        return self.method != "GET" and "/lock" not in self.path

    @property
    def key(self) -> str:
        found = re.search(rb"(?im)^idempotency-key:\s*(\S+)", self.request)
        return found[1].decode() if found else ""


@dataclass(frozen=True)
class Fault:
    """What happens to one exchange, in the order of the fields. Without any it goes through.

    `answer` is said in place of the service's reply: before the service is asked, which then is
    not, or after. With `reset` a cut connection ends with RST and not with FIN.
    """

    latency: float = 0
    """Seconds before the request is passed on, and before the reply is."""
    cut_request: int | None = None
    """Pass on so many bytes of the request, then cut both connections."""
    black_hole: bool = False
    """Take the request and do nothing at all."""
    answer: bytes = b""
    before: bool = False
    twice: bool = False
    """Pass the request on a second time, on a connection of its own."""
    mangle: Callable[[bytes], bytes] = bytes
    """Make another reply of the reply."""
    limit_data: int | None = None
    """Pass back so many bytes of the reply, then cut the connection."""
    reset: bool = False
    slicer: int | None = None
    """Pass the reply back in pieces of so many bytes."""
    bandwidth: int | None = None
    """Bytes of the reply in a second."""
    slow_close: float = 0
    """Seconds between a cut and its being noticed."""


Rule = Callable[[Exchange], Fault]
Meanwhile = Callable[[Exchange], Awaitable[None]]
THROUGH: Final = Fault()
DROP_REPLY: Final = Fault(limit_data=0)


def reply(status: str, *headers: str, body: bytes = b"", kind: str = "text/html") -> bytes:
    """An answer as something on the way would give it."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def once(fault: Fault, wanted: Callable[[Exchange], bool] = lambda one: one.writes) -> Rule:
    """The first exchange that is wanted suffers it."""
    return each([fault], wanted)


def each(
    faults: Sequence[Fault], wanted: Callable[[Exchange], bool] = lambda one: one.writes
) -> Rule:
    """One exchange after the other suffers one of them; then all is well."""
    left = list(reversed(faults))
    return lambda exchange: left.pop() if left and wanted(exchange) else THROUGH


@dataclass
class FaultProxy:
    """Listens on `port` and passes on to `upstream`; `seen` are all exchanges, in order.

    `meanwhile` is waited for before a request is passed on.
    """

    upstream: int
    rule: Rule = lambda _: THROUGH
    meanwhile: Meanwhile | None = None
    seen: list[Exchange] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def writes(self) -> list[Exchange]:
        return [one for one in self.seen if one.writes]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        service = _Service(self.upstream)
        try:
            while taken := await _message(reader):
                method, path, _ = taken.split(b" ", 2)
                exchange = Exchange(method.decode(), path.decode(), taken)
                fault = self.rule(exchange)
                said = await self._ask(service, exchange, fault)
                if said is None or not await _give(writer, said, fault):
                    await _cut(writer, fault)
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            service.close()
            writer.close()

    async def _ask(self, service: "_Service", exchange: Exchange, fault: Fault) -> bytes | None:
        """What to give back; None where the connection is cut instead."""
        await asyncio.sleep(fault.latency)
        if self.meanwhile:
            await self.meanwhile(exchange)
        if fault.black_hole:
            self.seen.append(exchange)
            await asyncio.sleep(_PATIENCE)
        if fault.cut_request is not None:
            self.seen.append(exchange)
            await service.send(exchange.request[: fault.cut_request])
            service.close()
            return None
        if fault.before:
            self.seen.append(exchange)
            return fault.answer
        if fault.twice:
            other = _Service(self.upstream)
            await other.ask(exchange.request)
            other.close()
        said = await service.ask(exchange.request)
        self.seen.append(Exchange(exchange.method, exchange.path, exchange.request, said))
        await asyncio.sleep(fault.latency)
        return fault.answer or fault.mangle(said)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


class _Service:
    """A connection to the service, opened when there is something to send."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, data: bytes) -> asyncio.StreamReader:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(data)
        await writer.drain()
        return reader

    async def ask(self, request: bytes) -> bytes:
        return await _message(await self.send(request))

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None


async def _message(reader: asyncio.StreamReader) -> bytes:
    """A whole request or reply; nothing where the connection ended before one began."""
    try:
        head = await reader.readuntil(_END)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""
    status = _STATUS.match(head)
    if _CHUNKED.search(head):
        return head + await reader.readuntil(b"0\r\n\r\n")
    length = _LENGTH.search(head)
    if length is None or (status and status[1] == b"204"):
        return head
    return head + await reader.readexactly(int(length[1]))


async def _give(writer: asyncio.StreamWriter, said: bytes, fault: Fault) -> bool:
    """Pass a reply back, as much as is to arrive; False where the connection is then cut."""
    given = said if fault.limit_data is None else said[: fault.limit_data]
    size = fault.slicer or (fault.bandwidth or 0) // 20 or len(given) or 1
    for start in range(0, len(given), size):
        piece = given[start : start + size]
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(len(piece) / fault.bandwidth if fault.bandwidth else 0)
    return fault.limit_data is None and b"connection: close" not in given[:2_000].lower()


async def _cut(writer: asyncio.StreamWriter, fault: Fault) -> None:
    await asyncio.sleep(fault.slow_close)
    if fault.reset:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        writer.transport.abort()


@contextlib.asynccontextmanager
async def fault_proxy(
    upstream: int, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FaultProxy]:
    """A proxy before a service on this machine; with `tls` it is spoken to encrypted."""
    proxy = FaultProxy(upstream)
    server = await asyncio.start_server(
        proxy.serve, "127.0.0.1", 0, ssl=tls, limit=64 * 1024 * 1024
    )
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


@contextlib.asynccontextmanager
async def eavesdropper() -> AsyncIterator[tuple[int, bytearray]]:
    """A stranger's server: its port, and every byte that ever arrived there."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                heard.extend(piece)
                writer.write(reply("200 OK", body=b"{}", kind="application/json"))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
