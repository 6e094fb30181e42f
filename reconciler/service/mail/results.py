"""What came of attempts, on its way to the disk, while others are made already."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from reconciler.errors import PlatformUnavailable
from reconciler.service.feed import About
from reconciler.service.mail.queue import Queue
from reconciler.service.service import Service

Job = Callable[[Queue], object]

_GATHER_SECONDS: Final = 0.01
_PAUSE_SECONDS: Final = 2.0
_LAST_SECONDS: Final = 10.0


class Results:
    """Writes those of one gateway in their order, many in one transaction.

    Where the disk takes nothing they are kept, and tried again.
    """

    def __init__(self, service: Service, tenant: str, gateway: str) -> None:
        self._service = service
        self._gateway = (tenant, gateway)
        self._waiting: list[tuple[int, Job]] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, number: int, job: Job) -> None:
        """Have something written about a message: it is then no longer being handed over."""
        self._waiting.append((number, job))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def finish(self) -> None:
        """Wait until all is on disk; what takes too long is left to be judged from the notes."""
        if self._writing:
            await asyncio.wait([self._writing], timeout=_LAST_SECONDS)
            self._waiting.clear()
            self._writing.cancel()

    async def _write(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER_SECONDS)
            some = tuple(self._waiting)
            try:
                await self._service.write(self._all(some))
            except PlatformUnavailable:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            del self._waiting[: len(some)]
            for number, _ in some:
                self._service.handovers.forget(number)
            self._service.feed.tell(About.OUTBOX, *self._gateway)

    def _all(self, some: Sequence[tuple[int, Job]]) -> Callable[[sqlite3.Connection], None]:
        def carry_out(connection: sqlite3.Connection) -> None:
            queue = Queue(connection, *self._gateway)
            for _, job in some:
                job(queue)

        return carry_out
