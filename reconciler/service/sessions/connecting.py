"""A connection to whichever address of a host answers first."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from reconciler.model import FailureKind
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.addresses import Address
from reconciler.service.sessions.failures import fail

HEAD_START_SECONDS: Final = 0.3
"""An address that does not answer holds up the next one no longer (RFC 8305)."""

_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds, seconds and times: a peer that is gone without a word is noticed within two minutes."""


Turn = Callable[[], Awaitable[None]]
"""Waits until another connection may begin."""


async def first_connected(
    addresses: Sequence[Address], seconds: float, files: float, turn: Turn | None = None
) -> tuple[socket.socket, str]:
    """Connect within so many seconds: the connection, and the address that answered.

    The addresses are tried in their order, each with a head start on the next, and all but the
    first after a `turn` of their own. No connection is made that would have a number from `files`
    on.

    Raises:
        OSError: what became of the first address: it is the one that the system prefers.
        SessionError: this process has too many files and connections.

    """
    end = asyncio.get_running_loop().time() + seconds
    if len(addresses) == 1:
        return await _connected(addresses[0], end, files), str(addresses[0][1][0])
    race = _Race(end, files, turn)
    try:
        for address in addresses:
            if await race.lead(address):
                break
        return await race.result()
    finally:
        await race.stop()


class _Race:
    def __init__(self, end: float, files: float, turn: Turn | None) -> None:
        self._end = end
        self._files = files
        self._turn = turn
        self._runners: dict[asyncio.Task[socket.socket], Address] = {}
        self._winner: asyncio.Task[socket.socket] | None = None

    async def lead(self, address: Address) -> bool:
        """Begin with this address too; after its head start, whether any has connected."""
        runner = asyncio.create_task(self._run(address, self._turn if self._runners else None))
        self._runners[runner] = address
        end = asyncio.get_running_loop().time() + HEAD_START_SECONDS
        while not runner.done() and await self._wait(end):
            pass
        return self._found()

    async def _run(self, address: Address, turn: Turn | None) -> socket.socket:
        if turn:
            async with asyncio.timeout_at(self._end):
                await turn()
        return await _connected(address, self._end, self._files)

    async def result(self) -> tuple[socket.socket, str]:
        while not self._found() and await self._wait(self._end + HEAD_START_SECONDS):
            pass
        if self._winner is None:
            raise next(iter(self._runners)).exception() or OSError
        return self._winner.result(), str(self._runners[self._winner][1][0])

    async def stop(self) -> None:
        losers = [runner for runner in self._runners if runner is not self._winner]
        for loser in losers:
            loser.cancel()
        try:
            for one in await asyncio.gather(*losers, return_exceptions=True):
                if isinstance(one, socket.socket):
                    one.close()
        except asyncio.CancelledError:
            if self._winner:
                self._winner.result().close()
            raise

    async def _wait(self, end: float) -> bool:
        """Until another one is done; False if none has connected, failed or is left by `end`."""
        running = [runner for runner in self._runners if not runner.done()]
        seconds = end - asyncio.get_running_loop().time()
        if self._found() or not running or seconds <= 0:
            return False
        done, _ = await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)

    def _found(self) -> bool:
        fine = (one for one in self._runners if one.done() and one.exception() is None)
        self._winner = self._winner or next(fine, None)
        return self._winner is not None


async def _connected(address: Address, end: float, files: float) -> socket.socket:
    family, place = address
    connection = _new_socket(family, files)
    try:
        connection.setblocking(False)  # noqa: FBT003
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):  # not every system lets these be chosen
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        async with asyncio.timeout_at(end):
            await asyncio.get_running_loop().sock_connect(connection, place)
    except BaseException:
        connection.close()
        raise
    return connection


def _new_socket(family: socket.AddressFamily, files: float) -> socket.socket:
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise (_too_many_files() if error.errno in _NO_FILES else error) from None
    # the system gives out the lowest number that is free, so the number tells how many are not
    if made.fileno() >= files:
        made.close()
        raise _too_many_files()
    return made


def _too_many_files() -> SessionError:
    return fail(
        FailureKind.BUSY,
        None,
        "this service has as many files and connections open as it may",
        "allow it more: LimitNOFILE of its systemd unit, or ulimit -n",
        transient=True,
    )
