"""What one stream tells: a view as it is, and again whenever it looks different."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from reconciler.errors import GatewaysError
from reconciler.service.feed import Listener
from reconciler.service.http.page.board import Board, Boards
from reconciler.service.http.page.border import Viewing
from reconciler.service.http.page.changes import changes
from reconciler.service.http.page.rendering import Rendering
from reconciler.service.http.page.streams import Over, Stream
from reconciler.service.http.page.view import View
from reconciler.service.http.page.visits import Visits
from reconciler.service.http.problems import problem_of

PACE_SECONDS: Final = 0.5
HEARTBEAT_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 2.0
"""How long a stream may outlive a token that another process has revoked."""

_SHARE: Final = 20
"""A stream reads for at most one part in so many of its time, however much changes."""


@dataclass(slots=True)
class Telling:
    """One stream. `have` is the digest of what the browser shows; `board` is what it was told."""

    viewing: Viewing
    view: View
    have: str
    stream: Stream
    listener: Listener
    boards: Boards
    rendering: Rendering
    board: Board | None = None

    async def events(self) -> AsyncGenerator[str, None]:
        """Every event as it goes out, until the visit ends or the service does.

        Raises:
            GatewaysError: nobody can tell whether the visit lasts.

        """
        end = asyncio.create_task(_first_of(self.stream.ended, self.viewing.site.closing))
        try:
            # the first may be a moment old, so that nobody waits for it; the second is not
            yield await self._look(None)
            while not end.done():
                since = time.monotonic()
                self.listener.rest()  # what is read from now on has all of it
                yield await self._look(since)
                pause = _SHARE * self.board.seconds if self.board else 0
                await asyncio.wait({end}, timeout=max(PACE_SECONDS, pause))
                await self._something(end)
        finally:
            end.cancel()
        if self.stream.over:
            yield _event("over", self.stream.over)

    async def _look(self, since: float | None) -> str:
        before = self.board
        try:
            board = await self.boards.read(self.viewing.tenant, self.view, since=since)
        except GatewaysError as error:
            return _event("trouble", problem_of(error).detail)
        self.board = board
        if before == board if before else board.digest == self.have:
            return _event("still", 0)
        return await asyncio.to_thread(self._changed, before, board)

    def _changed(self, before: Board | None, board: Board) -> str:
        parts = self.rendering.parts(self.viewing.service.clock())
        return _event("board", changes(parts, self.viewing.visit, before, board))

    async def _something(self, end: asyncio.Task[None]) -> None:
        """Wait until something of the tenant has changed, or for the end; a heartbeat at most."""
        tenant = self.viewing.tenant
        change = asyncio.create_task(_of_tenant(self.listener, tenant))
        until = time.monotonic() + HEARTBEAT_SECONDS
        try:
            while time.monotonic() < until:
                if not await self._lasts():
                    self.stream.end(Over.SIGNED_OUT)
                done, _ = await asyncio.wait(
                    {change, end}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if done or (self.board and self.boards.is_stale(tenant, self.board)):
                    return
        finally:
            change.cancel()

    async def _lasts(self) -> bool:
        service, visit = self.viewing.service, self.viewing.visit
        return await service.look(lambda found: Visits(found, service.clock).lasts(visit.id))


async def _of_tenant(listener: Listener, tenant: str) -> None:
    while (await listener.next()).tenant != tenant:
        pass


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _event(kind: str, data: object) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
