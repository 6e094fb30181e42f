"""Messages that are claimed ahead, for all sessions of a gateway: whoever is free takes the next.

The next ones are claimed while those before go out, so that waiting for the disk and waiting for
the server happen at the same time. A session that is stuck keeps no more than two of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from reconciler.service.mail.attempts import Attempts
from reconciler.service.mail.queue import Claimed

LOT: Final = 8
"""How many messages are claimed at once for each session."""


class Supply:
    """`plenty` is called when there is more to send than one lot; `sessions` says how many send."""

    def __init__(
        self, attempts: Attempts, sessions: Callable[[], int], plenty: Callable[[], None]
    ) -> None:
        self._attempts = attempts
        self._sessions = sessions
        self._plenty = plenty
        self._ready: deque[Claimed] = deque()
        self._claiming: asyncio.Task[None] | None = None
        self._more = False

    async def take(self) -> Claimed | None:
        """The next message that is due; None if there is none now.

        Raises:
            PlatformUnavailable: it cannot be claimed.

        """
        while not self._ready:
            claiming = self._claiming
            if claiming is None:
                wait = await self._attempts.next_due()
                if self._ready or self._claiming:
                    continue
                if wait is None or wait > 0:
                    return None
                claiming = self._claim()
            await asyncio.shield(claiming)
        return self._next()

    def reserve(self) -> Claimed | None:
        """The next one, if it is there already and needs no special care."""
        if not self._ready or self._ready[0].envelope.utf8 or self._ready[0].waiting.attempts:
            return None
        return self._next()

    def give_back(self, message: Claimed) -> None:
        """One that was taken and has not gone out."""
        self._ready.appendleft(message)

    async def close(self) -> None:
        """Give everything back that was claimed."""
        if self._claiming:
            await asyncio.wait([self._claiming])
        self._attempts.put_back(self._ready)
        self._ready.clear()

    def _next(self) -> Claimed:
        message = self._ready.popleft()
        if self._more and self._claiming is None and len(self._ready) < LOT * self._sessions():
            self._claim()
        return message

    def _claim(self) -> asyncio.Task[None]:
        task = self._claiming = asyncio.create_task(self._fill())
        task.add_done_callback(_look_at)
        return task

    async def _fill(self) -> None:
        """Claim a lot. Whoever waits for it is told of a failure; else the next to take tries."""
        most = LOT * self._sessions()
        found: deque[Claimed] = deque()
        try:
            found = await self._attempts.claim(most)
        finally:
            # here, and not by a callback: until that had run, whoever came to take would wait for
            # what has ended, which takes no time, again and again
            self._claiming = None
            self._more = len(found) == most
        self._ready += found
        if self._more:
            self._plenty()


def _look_at(task: asyncio.Task[None]) -> None:
    """A failure that nobody waits for is none to report at the end of the program."""
    if not task.cancelled():
        task.exception()
