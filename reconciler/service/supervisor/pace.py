"""How often connections may begin: evenly, and never more than so many in any second."""

import asyncio
from collections import deque
from typing import Final

_WINDOW_SECONDS: Final = 1.02
"""A little more than a second, since on the way to a server connections draw together."""
_EVEN: Final = 1.01
"""How much slower than the limit the even pace is, so that the limit is hardly ever felt."""
_CREDIT_SECONDS: Final = 0.5
"""A process that is held up makes up for so much of it, as far as the limit allows."""


class Pace:
    """Turns, one after the other in the order of asking.

    With `whole`, each turn is one of the whole's as well. A host waits there with one turn at a
    time, so that it cannot keep other hosts waiting, however many of its own wait behind.
    """

    def __init__(self, per_second: int, whole: "Pace | None" = None) -> None:
        self._whole = whole
        self._even = _EVEN * _WINDOW_SECONDS / per_second
        self._recent: deque[float] = deque(maxlen=per_second)
        self._next = 0.0
        self._asking = 0
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for a turn; it begins when this returns, so the connection must be made at once."""
        loop = asyncio.get_running_loop()
        if not self._asking:
            self._next = max(self._next, loop.time())  # while nobody asked nothing was held up
        self._asking += 1
        try:
            async with self._lock:
                await asyncio.sleep(max(0.0, self._due() - loop.time()))
                if self._whole:
                    await self._whole.turn()
                now = loop.time()
                self._recent.append(now)
                self._next = max(self._next + self._even, now - _CREDIT_SECONDS)
        finally:
            self._asking -= 1

    def _due(self) -> float:
        full = len(self._recent) == self._recent.maxlen
        return max(self._next, self._recent[0] + _WINDOW_SECONDS if full else 0.0)
