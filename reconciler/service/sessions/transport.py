"""One connection to a mail server, in plain text or TLS, with a limit on everything it may do.

It works on a bare socket, not on the event loop's transports: while a session is idle nothing but
the socket and OpenSSL's state is held, and it is always known which bytes came before TLS began.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Final

from reconciler.model import Certificate, FailureKind
from reconciler.service.sessions import SessionError, SessionSettings
from reconciler.service.sessions.addresses import (
    Address,
    refuse_port,
    refuse_private,
    resolve,
)
from reconciler.service.sessions.connecting import first_connected
from reconciler.service.sessions.failures import connect_failure, fail, tls_failure
from reconciler.service.sessions.stream import Ended, Stream
from reconciler.service.sessions.tls import TlsLayer

MAX_LINE: Final = 64 * 1024  # real replies stay below 2 KiB a line; stops an endless one
MAX_LINES: Final = 1_000  # of one reply; real ones have a few dozen; stops a flood of small ones
MAX_REPLY: Final = 1024 * 1024  # all lines and literals of one reply, refused before it is read

_TOO_SLOW: Final = "the server, or the network to it, is too slow or stuck"


class Wire:
    """The bytes of one connection. Every fault is a SessionError; after one, `usable` is False."""

    def __init__(self, host: str, port: int, settings: SessionSettings) -> None:
        self.where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.usable = False
        self._host = host
        self._port = port
        self._settings = settings
        self._addresses: tuple[Address, ...] = ()
        self._stream: Stream | None = None
        self._tls: TlsLayer | None = None
        self._buffer = bytearray()
        self._lines_left = MAX_LINES
        self._bytes_left = MAX_REPLY

    @asynccontextmanager
    async def within(
        self, seconds: float, doing: str, field: str = "host", hint: str = _TOO_SLOW
    ) -> AsyncIterator[None]:
        """Turn running out of time, or any other end but success, into an unusable wire."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            self.usable = False
            raise fail(
                FailureKind.TIMEOUT,
                field,
                f"{self.where} did not {doing} within {seconds:g} s",
                hint,
                transient=True,
            ) from None
        except asyncio.CancelledError:
            self.usable = False
            raise

    async def resolve(self) -> str:
        private = self._settings.private_hosts
        if not private:
            refuse_port(self.where, self._port)
        async with self.within(self._settings.deadlines.dns, "have its host name looked up"):
            look_up = self._settings.resolve or resolve
            self._addresses = await look_up(self._host, self._port)
        if not private:
            refuse_private(self.where, self._addresses)
        return ", ".join(str(address[0]) for _, address in self._addresses)

    async def connect(self) -> str:
        """Connect to one of the addresses.

        The first one's fault is the one that is told: it is the one the system prefers.
        """
        settings = self._settings
        try:
            connection, address = await first_connected(
                self._addresses, settings.deadlines.connect, settings.files, settings.turn
            )
        except OSError as error:
            raise connect_failure(self.where, error) from None
        self._stream = Stream(connection)
        self.usable = True
        return f"connected to {address}"

    async def start_tls(self, context: ssl.SSLContext, anchor: Certificate) -> str:
        """Shake hands, as the only thing that this connection may do next.

        Bytes that came in plain text after the server's answer to STARTTLS were put there by
        somebody on the way, to be taken for an answer under TLS: they end the connection. `anchor`
        is what `context` trusts.
        """
        if self._buffer or (self._stream and self._stream.has_more):
            raise self._broken(
                FailureKind.PROTOCOL,
                "encryption_mode",
                f"{self.where} sent more in plain text after agreeing to STARTTLS",
                "somebody between may be tampering; use encryption_mode TLS if the server has it",
            )
        async with self.within(
            self._settings.deadlines.tls, "finish the TLS handshake", "encryption_mode"
        ):
            self._tls = await self._handshake(TlsLayer(context, self._host), anchor)
        return f"{self._tls.version}, certificate trusted and made for {self._host}"

    async def _handshake(self, layer: TlsLayer, anchor: Certificate) -> TlsLayer:
        first_bytes, data = b"", b"-"
        try:
            while not layer.handshake():
                await self._to_socket(layer.drain())
                data = await self._from_socket()
                first_bytes = first_bytes or data[:2]
                layer.feed(data)
        except ssl.SSLError as error:
            if not data:  # some versions of Python name no reason for this, so it is not asked
                raise self._broken(
                    FailureKind.TLS,
                    "port",
                    f"{self.where} closed the connection during the TLS handshake",
                    "check that the port expects the declared encryption_mode",
                    transient=True,
                ) from None
            self.usable = False
            with suppress(SessionError):
                await self._to_socket(layer.drain())  # the alert: it tells the server why
            raise tls_failure(self.where, error, first_bytes, anchor) from None
        await self._to_socket(layer.drain())
        return layer

    @property
    def encrypted(self) -> bool:
        return self._tls is not None

    @property
    def certificate_expires(self) -> datetime | None:
        return self._tls.not_after if self._tls else None

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """What the server showed, as DER, its own first; nothing without encryption."""
        return self._tls.certificates if self._tls else ()

    @property
    def local_address(self) -> str:
        return self._stream.local_address if self._stream else ""

    async def send(self, *lines: bytes) -> None:
        """One line of a command, or several at once; replies to them start with fresh limits."""
        await self.send_content(as_lines(*lines))

    async def send_content(self, data: bytes) -> None:
        """What is no command, as it is; the reply to it starts with fresh limits."""
        self._lines_left = MAX_LINES
        self._bytes_left = MAX_REPLY
        if self._tls:
            self._tls.write(data)
            data = self._tls.drain()
        await self._to_socket(data)

    async def read_line(self) -> bytes:
        """The next line, without its end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            self.check(searched <= MAX_LINE, "a line without end")
            self._buffer += await self._receive()
        self._lines_left -= 1
        if end > MAX_LINE or self._lines_left < 0:  # looked at once: lines are what is read most
            self.check(end <= MAX_LINE, "a line without end")
            self.check(self._lines_left >= 0, "a reply without end")
        return self._take(end + 1).rstrip(b"\r\n")

    @property
    def lines_there(self) -> list[bytes]:
        """The lines that can be read without waiting; they stay to be read."""
        return bytes(self._buffer).split(b"\n")[:-1]

    async def read_exactly(self, size: int) -> bytes:
        """A literal; one that is longer than a reply may be is refused before it is read."""
        self.check(size <= self._bytes_left, "a reply without end")
        while len(self._buffer) < size:
            self._buffer += await self._receive()
        return self._take(size)

    async def peek(self, size: int) -> bytes:
        """The next bytes, `size` or as many as the line still has, and leave them to be read."""
        while len(self._buffer) < size and b"\n" not in self._buffer:
            self._buffer += await self._receive()
        return bytes(self._buffer[:size])

    async def read_block(self, size: int) -> bytes:
        """A part of a message, exactly so long.

        It counts for no reply: whoever reads messages has a limit of his own.
        """
        while len(self._buffer) < size:
            self._buffer += await self._receive()
        return self._cut(size)

    async def read_some(self) -> bytes:
        """What is there, at least a byte; it counts for no reply either."""
        if not self._buffer:
            self._buffer += await self._receive()
        return self._cut(len(self._buffer))

    def put_back(self, data: bytes) -> None:
        """What was read too much is read again."""
        self._buffer[:0] = data

    def _take(self, size: int) -> bytes:
        self._bytes_left -= size
        self.check(self._bytes_left >= 0, "a reply without end")
        return self._cut(size)

    def _cut(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def check(self, fine: bool, what: str) -> None:  # noqa: FBT001  # reads as a sentence
        """End the connection unless all is fine; `what` says what the server sends instead."""
        if not fine:
            raise self._broken(FailureKind.PROTOCOL, "port", f"{self.where} sends {what}")

    def _broken(
        self,
        kind: FailureKind,
        field: str,
        message: str,
        hint: str = "",
        *,
        transient: bool = False,
    ) -> SessionError:
        self.usable = False
        return fail(kind, field, message, hint, transient=transient)

    async def _receive(self) -> bytes:
        if not self._tls:
            data: bytes | None = await self._from_socket()
        else:
            try:
                while (data := self._tls.read()) is None:
                    await self._to_socket(self._tls.drain())  # an answer to a key update
                    self._tls.feed(await self._from_socket())
            except ssl.SSLError:
                raise self._lost("broke the TLS connection") from None
        if not data:
            raise self._lost("closed the connection")
        return data

    async def _from_socket(self) -> bytes:
        """What has come since; no bytes at the end."""
        assert self._stream  # noqa: S101  # connected, or nothing calls this
        try:
            return await self._stream.receive()
        except Ended as end:
            raise self._lost(end.what) from None

    async def _to_socket(self, data: bytes) -> None:
        assert self._stream  # noqa: S101  # connected, or nothing calls this
        try:
            await self._stream.send(data)
        except Ended as end:
            raise self._lost(end.what) from None

    def _lost(self, what: str) -> SessionError:
        return self._broken(
            FailureKind.TCP,
            "host",
            f"{self.where} {what}",
            "the server may be restarting, or may not take connections from this address",
            transient=True,
        )

    def abort(self) -> None:
        """Free the socket at once."""
        self.usable = False
        if self._stream:
            self._stream.close(self._tls.shut() if self._tls else b"")
        self._stream = self._tls = None


def as_lines(*lines: bytes) -> bytes:
    """Commands as they go out.

    CR, LF or NUL in a line would end it early and make the rest a command of its own.
    """
    if any(byte in line for line in lines for byte in b"\r\n\0"):
        raise fail(FailureKind.PROTOCOL, None, "a command must not contain CR, LF or NUL")
    return b"".join(line + b"\r\n" for line in lines)
