"""Taking connections: so many at once and no more, so that the API never starves the sessions."""

import asyncio
import errno
import logging
import math
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from reconciler.errors import WrongUsage

logger = logging.getLogger("gateways.http")

_BACKLOG: Final = 512
_HANDSHAKE_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.5
"""How long no connection is taken where the system has no file handle for one."""

_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_NOT_HERE: Final = {
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "this user may not listen there; ports below 1024 are for root",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """`connections` at once; none where that would make more than `files` open files."""

    connections: float
    files: float


NO_LIMITS: Final = Limits(math.inf, math.inf)


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens already; port 0 takes a free one.

    Raises:
        WrongUsage: that address cannot be listened on.

    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server((address[0], address[1]), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        why = _NOT_HERE.get(getattr(error, "errno", 0) or 0, "there is no such address")
        raise WrongUsage(f"cannot listen on {host}:{port}: {why}") from None
    listener.setblocking(False)  # noqa: FBT003
    return listener


async def accept(
    listener: socket.socket,
    server: web.Server,
    tls: Callable[[], ssl.SSLContext | None],
    limits: Limits,
) -> None:
    """Take connections until cancelled. `tls` is asked anew for each."""
    loop = asyncio.get_running_loop()
    starting: set[asyncio.Task[None]] = set()
    while True:
        try:
            connection, _ = await loop.sock_accept(listener)
        except OSError as error:
            # all file handles are in use, or who called is gone already: nothing to end for
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                logger.warning("no connection can be taken: %s", error.strerror)
            await asyncio.sleep(_PAUSE_SECONDS)
            continue
        held = len(starting) + len(server.connections)
        context = tls()
        if held >= limits.connections or connection.fileno() >= limits.files:
            _send_away(connection, encrypted=context is not None)
            continue
        task = asyncio.create_task(_start(connection, server, context))
        starting.add(task)
        task.add_done_callback(starting.discard)


async def _start(
    connection: socket.socket, server: web.Server, context: ssl.SSLContext | None
) -> None:
    """From here on the connection is aiohttp's; a handshake that fails is nobody's fault here."""
    seconds = _HANDSHAKE_SECONDS if context else None
    try:
        await asyncio.get_running_loop().connect_accepted_socket(
            server, connection, ssl=context, ssl_handshake_timeout=seconds
        )
    except OSError:
        connection.close()


def _send_away(connection: socket.socket, *, encrypted: bool) -> None:
    with suppress(OSError):
        if not encrypted:
            connection.send(_BUSY)
    connection.close()
