"""What a gateway without a session waits for, and for how long."""

import asyncio
from math import inf

from reconciler.service.supervisor.breaker import Breaker
from reconciler.service.supervisor.facts import Waiting


class Pause:
    """One gateway's. `until` is a moment of the loop's clock, infinite where it is not known."""

    __slots__ = ("_breaker", "_ended", "_until", "_waiting")

    def __init__(self) -> None:
        self._waiting: Waiting | None = None
        self._until = inf
        self._breaker: Breaker | None = None
        self._ended: asyncio.Event | None = None

    def begin(
        self, waiting: Waiting, breaker: Breaker | None = None, *, until: float = inf
    ) -> None:
        """From now on it is waited for this; `breaker` knows whether it will take longer."""
        self._waiting, self._until, self._breaker = waiting, until, breaker

    def over(self) -> None:
        self._waiting, self._until, self._breaker = None, inf, None

    @property
    def waiting(self) -> Waiting | None:
        return Waiting.HOST if self._breaker and self._breaker.failure else self._waiting

    @property
    def until(self) -> float:
        return self._breaker.next_at if self._breaker and self._breaker.failure else self._until

    async def last(self, seconds: float, waiting: Waiting) -> None:
        """Wait so long, unless `end` is called."""
        self._ended = asyncio.Event()
        self.begin(waiting, until=asyncio.get_running_loop().time() + seconds)
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass
        finally:
            self._ended = None

    def end(self) -> None:
        if self._ended:
            self._ended.set()
