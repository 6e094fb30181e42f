"""Server-sent events: what a view should show from now on, as the parts of the page to replace.

An event says nothing that the next one needs: who missed some is sent all that has changed since.
"""

import asyncio
from contextlib import aclosing
from typing import Final

from aiohttp import web

from reconciler.errors import GatewaysError
from reconciler.service.feed import About
from reconciler.service.http.page.board import Boards
from reconciler.service.http.page.border import Viewing
from reconciler.service.http.page.rendering import Rendering
from reconciler.service.http.page.streams import Streams
from reconciler.service.http.page.telling import Telling
from reconciler.service.http.page.view import View
from reconciler.service.http.problems import Problem

_WRITE_SECONDS: Final = 30.0


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
            telling = Telling(viewing, view, have, stream, listener, self._boards, self._rendering)
            await response.prepare(request)
            try:
                async with aclosing(telling.events()) as events:
                    async for event in events:
                        async with asyncio.timeout(_WRITE_SECONDS):
                            await response.write(event.encode())
            except (ConnectionError, TimeoutError, GatewaysError):
                pass  # the browser has gone, or takes nothing any more, or asks anew
        return response
