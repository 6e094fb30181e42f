"""How often connections may begin: evenly, and never more than so many in any second."""

import asyncio
from collections import deque
from typing import Final

_WINDOW: Final = 1.07
"""Seconds; a little more than one, since on the way to the server connections draw together."""
_EVEN: Final = 1.01
"""How much slower than the limit the even pace is, so that the window is hardly ever felt."""
_CATCH_UP: Final = 0.5
"""After a hold-up of this process, as much of the even distance is the least there is."""


class Pace:
    """Turns, one after the other in the order of asking.

    With `whole`, each turn is one of the whole's as well. A host waits there with one turn at a
    time, so that it cannot keep other hosts waiting, however many of its own wait behind.
    """

    def __init__(self, per_second: int, whole: "Pace | None" = None) -> None:
        self._whole = whole
        self._even = _EVEN * _WINDOW / per_second
        self._recent: deque[float] = deque(maxlen=per_second)
        self._next = 0.0
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for a turn; it begins when this returns, so the connection must be made at once."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            await asyncio.sleep(max(0.0, self._due() - loop.time()))
            if self._whole:
                await self._whole.turn()
            now = loop.time()
            self._recent.append(now)
            self._next = max(self._next + self._even, now + self._even * _CATCH_UP)

    def _due(self) -> float:
        full = len(self._recent) == self._recent.maxlen
        return max(self._next, self._recent[0] + _WINDOW if full else 0.0)
