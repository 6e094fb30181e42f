"""Server-sent events: what a view should show from now on, as the parts of the page to replace.

An event says nothing that the next one needs: who missed some is sent all that has changed since.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from reconciler.errors import GatewaysError
from reconciler.service.feed import About, Listener
from reconciler.service.http.page.board import Board, Boards
from reconciler.service.http.page.border import Viewing
from reconciler.service.http.page.changes import changes
from reconciler.service.http.page.rendering import Rendering
from reconciler.service.http.page.streams import Over, Stream, Streams
from reconciler.service.http.page.view import View
from reconciler.service.http.page.visits import Visits
from reconciler.service.http.problems import Problem, problem_of

PACE_SECONDS: Final = 0.5
HEARTBEAT_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 2.0
"""How long a stream may outlive a token that another process has revoked."""

_WRITE_SECONDS: Final = 30.0
_SHARE: Final = 20
"""A stream reads for at most one part in so many of its time, however much changes."""


class Live:
    def __init__(self, rendering: Rendering, boards: Boards, streams: Streams) -> None:
        self._rendering = rendering
        self._boards = boards
        self._streams = streams

    async def events(self, viewing: Viewing) -> web.StreamResponse:
        """What the view shows, unless the browser has that; then each change, until it leaves."""
        request = viewing.request
        if request.headers.get("Sec-Fetch-Site") not in {None, "same-origin"}:
            raise Problem(403, "forbidden", "this was asked for by another page")
        view, have = View.read(request.query), request.query.get("have", "")
        response = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        with (
            self._streams.begin(viewing.visit.id) as stream,
            viewing.service.feed.listen(*About) as listener,
        ):
            await response.prepare(request)
            try:
                async with aclosing(self._told(viewing, view, have, stream, listener)) as told:
                    async for text in told:
                        async with asyncio.timeout(_WRITE_SECONDS):
                            await response.write(text.encode())
            except (ConnectionError, TimeoutError):
                pass  # the browser has gone, or takes nothing any more
        return response

    async def _told(
        self, viewing: Viewing, view: View, have: str, stream: Stream, listener: Listener
    ) -> AsyncGenerator[str, None]:
        end = asyncio.create_task(_first_of(stream.ended, viewing.site.closing))
        before: Board | None = None
        # the first may be a moment old, so that nobody waits for it; the second is not
        since: float | None = None
        try:
            while not end.done():
                pause = PACE_SECONDS
                try:
                    board = await self._boards.read(viewing.tenant, view, since=since)
                except GatewaysError as error:
                    yield _event("trouble", problem_of(error).detail)
                else:
                    if before == board if before else board.digest == have:
                        yield _event("still", 0)
                    else:
                        yield await asyncio.to_thread(self._board_event, viewing, before, board)
                    before, pause = board, max(pause, _SHARE * board.seconds)
                await asyncio.wait({end}, timeout=pause)
                if since is not None:
                    await self._something(viewing, stream, listener, end)
                since = time.monotonic()
                listener.rest()  # what is read from now on has all of it
        finally:
            end.cancel()
        if stream.over:
            yield _event("over", stream.over)

    def _board_event(self, viewing: Viewing, before: Board | None, board: Board) -> str:
        parts = self._rendering.parts(viewing.service.clock())
        return _event("board", changes(parts, viewing.visit, before, board))

    async def _something(
        self, viewing: Viewing, stream: Stream, listener: Listener, end: asyncio.Task[None]
    ) -> None:
        """Wait until something of the tenant has changed, or for the end; a heartbeat at most."""
        change = asyncio.create_task(_of_tenant(listener, viewing.tenant))
        until = time.monotonic() + HEARTBEAT_SECONDS
        try:
            while time.monotonic() < until:
                if not await self._lasts(viewing):
                    stream.end(Over.SIGNED_OUT)
                done, _ = await asyncio.wait(
                    {change, end}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    return
        finally:
            change.cancel()

    async def _lasts(self, viewing: Viewing) -> bool:
        service, visit = viewing.service, viewing.visit
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
