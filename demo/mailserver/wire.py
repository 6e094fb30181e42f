"""One connection as lines and literals, under TLS or not, with the faults of the wire."""

import asyncio
import contextlib
import ssl

from demo.mailserver.state import State
from demo.mailserver.tls import Tls, TlsClosed

_CHUNK = 65_536
LINE_LIMIT = 65_536


class Disconnected(Exception):
    """The peer has gone, or a fault says that this session ends here."""


class LineTooLong(Exception):
    """The peer sends more than a line may hold."""


class Wire:
    """Reads lines and sends bytes. Every method raises Disconnected when the session is over."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: State
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._state = state
        self._buffer = bytearray()
        self._tls: Tls | None = None
        self._sent = 0
        self._lines = 0

    @property
    def secure(self) -> bool:
        return self._tls is not None

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Become a TLS connection; what came in before the handshake is thrown away unread."""
        self._buffer.clear()
        tls = Tls(context)
        try:
            while not tls.handshake(await self._receive()):
                await self._transmit(tls.pending())
            await self._transmit(tls.pending())
        except ssl.SSLError as error:
            self._state.counters.tls_failures += 1
            with contextlib.suppress(Disconnected):
                await self._transmit(tls.pending())  # the alert that says why
            raise Disconnected from error
        except Disconnected:
            self._state.counters.tls_failures += 1
            raise
        self._tls = tls
        self._take(b"")  # what came along with the end of the handshake

    async def read_raw_line(self, limit: int = LINE_LIMIT) -> bytes:
        """The next line with its line end, as it came. Raises LineTooLong."""
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > limit:
                raise LineTooLong
            await self._fill()
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    async def read_line(self) -> bytes:
        """The next command or answer without its line end. Raises LineTooLong."""
        line = await self.read_raw_line()
        self._lines += 1
        if self._lines == self._state.faults.close_after_lines:
            raise Disconnected
        return line.rstrip(b"\r\n")

    async def read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._fill()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def send(self, data: bytes) -> None:
        """Send as slowly as the faults say, and no more than they allow."""
        faults = self._state.faults
        limit = faults.close_after_bytes
        allowed = data if limit is None else data[: max(limit - self._sent, 0)]
        self._sent += len(allowed)
        if faults.seconds_per_byte:
            for byte in allowed:
                await self._transmit(self._sealed(bytes([byte])))
                await asyncio.sleep(faults.seconds_per_byte)
        elif allowed:
            await self._transmit(self._sealed(allowed))
        if len(allowed) < len(data):
            raise Disconnected

    async def send_line(self, text: str) -> None:
        one_line = text.replace("\r", " ").replace("\n", " ")  # it may quote what a client sent
        await self.send(one_line.encode() + b"\r\n")

    async def wait_for_nothing(self) -> None:
        """Swallow what comes until the peer gives up."""
        while True:
            await self._receive()

    async def close(self) -> None:
        """End in order: TLS first, then the connection."""
        with contextlib.suppress(Disconnected):
            if self._tls is not None:
                await self._transmit(self._tls.close())
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Cut the connection off, as a crashed server would."""
        self._writer.transport.abort()

    def _sealed(self, plain: bytes) -> bytes:
        if self._tls is None:
            return plain
        try:
            return self._tls.encrypt(plain)
        except ssl.SSLError as error:
            raise Disconnected from error

    async def _fill(self) -> None:
        self._take(await self._receive())
        if self._tls is not None and (pending := self._tls.pending()):
            await self._transmit(pending)

    def _take(self, received: bytes) -> None:
        if self._tls is None:
            self._buffer += received
            return
        try:
            self._buffer += self._tls.decrypt(received)
        except (ssl.SSLError, TlsClosed) as error:
            raise Disconnected from error

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout(self._state.faults.idle_seconds):
                received = await self._reader.read(_CHUNK)
        except OSError as error:  # a TimeoutError is one, too
            raise Disconnected from error
        if not received:
            raise Disconnected
        return received

    async def _transmit(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Disconnected from error
