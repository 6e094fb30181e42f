"""Looking hosts up for thousands of gateways.

The event loop's own look-ups share a handful of threads. A few names whose servers do not answer
would keep all others waiting, and the end of the process as well.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from reconciler.service.sessions.addresses import Address, distinct
from reconciler.service.sessions.failures import dns_failure

Found = list[Any]


class Resolver:
    """Those who look up the same host at the same moment share one look-up.

    Nothing is remembered: each new connection looks the host up anew.
    """

    def __init__(self, threads: int = 64) -> None:
        self._places = asyncio.Semaphore(threads)
        self._under_way: dict[tuple[str, int], asyncio.Task[Found]] = {}

    async def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        """Every address of the host, in the order in which the system prefers them.

        Raises:
            SessionError: kind dns, field host.

        """
        try:
            return distinct(_numeric(host, port) or await self._shared(host, port))
        except (OSError, UnicodeError) as error:  # a label that is too long is a UnicodeError
            raise dns_failure(host, error) from None

    async def _shared(self, host: str, port: int) -> Found:
        place = (host, port)
        under_way = self._under_way.get(place)
        if under_way is None:
            under_way = self._under_way[place] = asyncio.create_task(self._look_up(host, port))
            under_way.add_done_callback(lambda done: self._over(place, done))
        return await asyncio.shield(under_way)

    def _over(self, place: tuple[str, int], done: asyncio.Task[Found]) -> None:
        del self._under_way[place]
        if not done.cancelled():
            done.exception()  # whoever waited for it may have gone

    async def _look_up(self, host: str, port: int) -> Found:
        async with self._places:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[Found] = loop.create_future()

            def tell(how: Callable[[Any], None], what: object) -> None:
                if not answer.done():
                    how(what)

            def look_up() -> None:
                how: Callable[[Any], None] = answer.set_result
                what: object
                try:
                    what = _addresses(host, port)
                except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                    how, what = answer.set_exception, error
                with suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(tell, how, what)

            # a daemon: it cannot be told to stop, and nothing waits for it at the end
            threading.Thread(target=look_up, name="look-up", daemon=True).start()
            return await answer


def _addresses(host: str, port: int, flags: int = 0) -> Found:
    return socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags
    )


def _numeric(host: str, port: int) -> Found:
    """The address that the host already is; nothing where it is a name."""
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
