"""How often connections may begin: evenly, and never more than so many in any second."""

import asyncio
from typing import Final

_MARGIN: Final = 1.05
"""On the way to a server connections draw together."""
_LEAST: Final = 0.5
"""Of the even distance: so close may two turns be if the first was late, as clocks are."""


class Pace:
    """Turns, one after the other in the order of asking.

    The turns after one that was late are even again, so N + 1 turns take N - 1/2 even distances at
    least: that is what makes an even distance longer than a second.

    With `whole`, each turn is one of the whole's as well. A host waits there with one turn at a
    time, so that it cannot keep other hosts waiting, however many of its own wait behind.
    """

    def __init__(self, per_second: int, whole: "Pace | None" = None) -> None:
        self._whole = whole
        self._even = _MARGIN / (per_second - _LEAST)
        self._next = 0.0
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for a turn; it begins when this returns, so the connection must be made at once."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            await asyncio.sleep(max(0.0, self._next - loop.time()))
            if self._whole:
                await self._whole.turn()
            self._next = max(self._next + self._even, loop.time() + self._even * _LEAST)
