"""Whether a mail server answers, found out by one gateway for all that want to connect to it.

Nothing is taken for granted: the first connection is made alone, each answer lets one more be under
way at once, and after a failure there is again only one, which waits longer each time.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from reconciler.model import Failure

MOST_AT_ONCE: Final = 100
CONFIRMED: Final = 2
"""Failures one after the other that are told to those who wait: one alone may be chance."""


class NotAnswering(Exception):
    """The server does not answer; `tried` says that it was this gateway that found it out."""

    def __init__(self, failure: Failure, *, tried: bool = False) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.tried = tried


class Stale(Exception):
    """The permit was given before the server failed: another is to be asked for."""


def probe_seconds(failures: int, outage: float) -> float:
    """Seconds until the next attempt for all: up to 15, but as the outage lasts up to 300.

    What waits for the end of a long outage waits a fortieth of its length at most.
    """
    most = min(2.0 ** min(failures - 1, 16), max(15.0, outage / 40), 300.0)
    return random.uniform(0, most)  # noqa: S311 - spreads load


@dataclass(slots=True, eq=False)
class _Waiter:
    future: asyncio.Future[None]
    known: Failure | None


class Permit:
    """One connection that may be made; what becomes of it is told at most once."""

    __slots__ = ("_breaker", "_failures", "told")

    def __init__(self, breaker: "Breaker", failures: int) -> None:
        self.told = False
        self._breaker = breaker
        self._failures = failures

    def check(self) -> None:
        """Raise Stale if the server has failed since this was given."""
        if self._failures < self._breaker.failures:
            raise Stale

    def answered(self) -> None:
        if not self.told:
            self.told = True
            self._breaker.answered()

    def failed(self, failure: Failure) -> None:
        if not self.told:
            self.told = True
            self._breaker.failed(failure, after=self._failures)

    def over(self) -> None:
        """Nothing was found out."""
        if not self.told:
            self.told = True
            self._breaker.gave_up()


class Breaker:
    """Lets so many attempts be under way as the server has earned by its answers.

    `seconds` gives the wait after so many failures in an outage of so many seconds. `trusting`
    begins with no limit, for what is only ever tripped. `changed` hears a failure that is confirmed
    and, with None, the next answer. `failures` is how many there were since the last answer.
    """

    def __init__(
        self,
        seconds: Callable[[int, float], float] = probe_seconds,
        *,
        trusting: bool = False,
        changed: Callable[[Failure | None], None] = lambda _: None,
    ) -> None:
        self.failure: Failure | None = None
        self.next_at = 0.0
        self._seconds = seconds
        self._most = 1 << 30 if trusting else MOST_AT_ONCE
        self._at_once = self._most if trusting else 1
        self._changed = changed
        self._under_way = 0
        self.failures = 0
        self._since = 0.0
        self._last_at = float("-inf")
        self._waiting: OrderedDict[_Waiter, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def attempt(
        self, known: Failure | None = None, *, asked: bool = False
    ) -> AsyncIterator[Permit]:
        """Wait until it may be tried.

        `known` is the failure that the caller has been told already. One who was `asked` to try by
        a person is told only what is found from now on, and has it found soon.

        Raises:
            NotAnswering: the server does not answer, and the caller did not know.

        """
        if asked:
            self.next_at = min(self.next_at, self._last_at + 1)
        elif self.failure and not _alike(known, self.failure):
            raise NotAnswering(self.failure)
        await self._admitted(None if asked else known)
        permit = Permit(self, self.failures)
        try:
            yield permit
        finally:
            permit.over()

    def answered(self) -> None:
        self._under_way -= 1
        if self.failure:
            self._changed(None)
        self.failure = None
        self.failures, self.next_at = 0, 0.0
        self._at_once = min(self._at_once + 1, self._most)
        self._admit()

    def failed(self, failure: Failure, *, after: int) -> None:
        """An attempt that began before the last failure says nothing more than that one."""
        self._under_way -= 1
        if after == self.failures:
            self._count(failure)
        self._admit()

    def trip(self, failure: Failure) -> None:
        """Stop without an attempt: it was found out in another way."""
        self._count(failure, confirmed=True)
        self._admit()

    def gave_up(self) -> None:
        self._under_way -= 1
        self._admit()

    def _count(self, failure: Failure, *, confirmed: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if not self.failures:
            self._since = now
        self.failures = max(self.failures + 1, CONFIRMED if confirmed else 0)
        self._at_once = 1
        self.next_at = now + self._seconds(self.failures, now - self._since)
        if self.failures >= CONFIRMED:
            if not self.failure:
                self._changed(failure)
            self.failure = failure
            self._tell(failure)

    def _tell(self, failure: Failure) -> None:
        for waiter in [one for one in self._waiting if not _alike(one.known, failure)]:
            del self._waiting[waiter]
            if not waiter.future.done():
                waiter.future.set_exception(NotAnswering(failure))

    async def _admitted(self, known: Failure | None) -> None:
        waiter = _Waiter(asyncio.get_running_loop().create_future(), known)
        self._waiting[waiter] = None
        self._admit()
        try:
            await waiter.future
        except asyncio.CancelledError:
            if self._waiting.pop(waiter, self) is self and _was_admitted(waiter.future):
                self.gave_up()
            raise

    def _admit(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._waiting and self._under_way < self._at_once and now >= self.next_at:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.future.done():
                self._under_way += 1
                self._last_at = now
                waiter.future.set_result(None)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._waiting and now < self.next_at:
            self._timer = asyncio.get_running_loop().call_at(self.next_at, self._admit)


def _was_admitted(future: asyncio.Future[None]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _alike(known: Failure | None, failure: Failure) -> bool:
    """Messages may differ by a server's words; those are no news."""
    return known is not None and (known.kind, known.field) == (failure.kind, failure.field)
