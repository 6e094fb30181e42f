"""How much is announced at once, and how long what failed is put off."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from reconciler.service.mail.webhook_queue import Webhook

AT_ONCE: Final = 8
"""Attempts under way at once to one webhook, and to one host."""

_HEALTHY: Final = 192
_FAILING: Final = 64


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what failed is put off, in seconds; each time is spread by a fifth.

    `pauses` are for one announcement: after its first, second … failure. `first` is for a target
    that failed, doubled with each further failure in a row, up to `last`. `given_up_after` counts
    from the first attempt at an announcement.
    """

    pauses: tuple[float, ...] = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600)
    first: float = 5
    last: float = 900
    given_up_after: float = 5 * 24 * 3_600

    def announcement(self, attempts: int) -> float:
        return self.pauses[min(attempts, len(self.pauses) - 1)]

    def target(self, failures: int) -> float:
        return min(self.first * 2.0 ** min(failures, 20), self.last)


@dataclass(frozen=True, slots=True)
class Rooms:
    """How much is under way at once: in all, to one host, and to targets that failed last time.

    These have a room of their own, so that slow ones cannot take the places of the others.
    """

    healthy: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_HEALTHY))
    failing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_FAILING))
    hosts: defaultdict[str, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
    )

    @asynccontextmanager
    async def place(self, webhook: Webhook) -> AsyncIterator[None]:
        room = self.failing if webhook.failures else self.healthy
        async with self.hosts[URL(webhook.url).host or ""], room:
            yield
