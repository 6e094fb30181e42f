"""The bytes of one connected socket on the event loop.

What comes is kept here until it is asked for: the loop's own `sock_recv` loses it where whoever
waits is cancelled at that moment, and with it perhaps the answer to a message.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from reconciler.service.sessions.tls import RECORD

_KEPT: Final = 64 * 1024
"""Bytes, and one read more; the rest waits with whoever sends it."""


class Ended(Exception):
    """The connection is no more; `what` says what the other side did."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Stream:
    """Owns the socket, and closes it."""

    __slots__ = ("_arrived", "_end", "_listens", "_socket", "_waiting")

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._arrived = bytearray()
        self._end: str | None = None
        self._listens = False
        self._waiting: asyncio.Future[None] | None = None

    @property
    def local_address(self) -> str:
        return str(self._socket.getsockname()[0])

    @property
    def has_more(self) -> bool:
        """Whether something has come that nobody has asked for."""
        return bool(self._arrived)

    async def receive(self) -> bytes:
        """What has come since; no bytes at the end. Raises Ended."""
        loop = asyncio.get_running_loop()
        while not self._arrived and self._end is None:
            self._listen(loop)
            self._waiting = loop.create_future()
            await self._waiting
        if self._arrived:
            taken = bytes(self._arrived)
            self._arrived.clear()
            return taken
        if self._end:
            raise Ended(self._end)
        return b""

    async def send(self, data: bytes) -> None:
        """Raises Ended."""
        if data:
            try:
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
            except OSError:
                raise Ended("closed the connection") from None

    def close(self, last: bytes = b"") -> None:
        """Free the socket at once; `last` is sent if that can be done without waiting."""
        if last:
            with suppress(OSError):  # a full send buffer, or a peer that is gone
                self._socket.send(last)
        self._stop_listening()
        self._socket.close()

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._listens:
            loop.add_reader(self._socket.fileno(), self._take_in, self._socket)
            self._listens = True

    def _take_in(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(RECORD)
        except BlockingIOError:
            return
        except TimeoutError:  # the kernel gave up on the peer; not our deadline
            data, self._end = b"", "no longer answers"
        except OSError:
            data, self._end = b"", "reset the connection"
        self._arrived += data
        if not data:
            self._end = self._end or ""
        if not data or len(self._arrived) >= _KEPT:
            self._stop_listening()
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def _stop_listening(self) -> None:
        if self._listens:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._listens = False
