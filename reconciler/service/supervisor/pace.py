"""How often connections may begin: evenly, and never more than so many in any second."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_WINDOW_SECONDS: Final = 1.02
"""A little more than a second, since on the way to a server connections draw together."""
_EVEN: Final = 1.01
"""How much slower than the limit the even pace is, so that the limit is hardly ever felt."""
_CREDIT_SECONDS: Final = 0.5
"""A process that is held up makes up for so much of it, as far as the limit allows."""


class Pace:
    """Turns, one after the other in the order of asking.

    Whoever is connecting already and needs one more goes ahead of those who wait to begin, or else
    its time would be up before its turn. With `whole`, each turn is one of the whole's as well. A
    host waits there with one turn at a time, so that it cannot keep other hosts waiting, however
    many of its own wait behind.
    """

    def __init__(self, per_second: int, whole: "Pace | None" = None) -> None:
        self._whole = whole
        self._even = _EVEN * _WINDOW_SECONDS / per_second
        self._recent: deque[float] = deque(maxlen=per_second)
        self._next = 0.0
        self._asking = 0
        self._queue = asyncio.Lock()
        self._front = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for a turn; it begins when this returns, so the connection must be made at once."""
        async with self._asked(), self._queue:
            await self._at_the_front()

    async def one_more(self) -> None:
        """The same, for another connection of somebody who had a turn."""
        async with self._asked():
            await self._at_the_front()

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        if not self._asking:  # while nobody asked nothing was held up
            self._next = max(self._next, asyncio.get_running_loop().time())
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    async def _at_the_front(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._front:
            await asyncio.sleep(max(0.0, self._due() - loop.time()))
            if self._whole:
                await self._whole.turn()
            now = loop.time()
            self._recent.append(now)
            self._next = max(self._next + self._even, now - _CREDIT_SECONDS)

    def _due(self) -> float:
        full = len(self._recent) == self._recent.maxlen
        return max(self._next, self._recent[0] + _WINDOW_SECONDS if full else 0.0)
