"""The page itself, and the table of everything that a browser may ask for."""

import asyncio
from functools import partial

from aiohttp import web

from reconciler.service.http.guard import Guard
from reconciler.service.http.page.board import Boards
from reconciler.service.http.page.border import Border, Viewing
from reconciler.service.http.page.buttons import DISCONNECT, REBUILD, Buttons
from reconciler.service.http.page.changes import title
from reconciler.service.http.page.live import Live
from reconciler.service.http.page.notices import Notices
from reconciler.service.http.page.rendering import Rendering
from reconciler.service.http.page.signing import Signing
from reconciler.service.http.page.streams import Streams
from reconciler.service.http.page.view import View
from reconciler.service.http.problems import not_there
from reconciler.service.http.routing import OpenRoute, Site


class Monitoring:
    """The page of one application. `routes` are open: each looks itself at who asks."""

    def __init__(self, site: Site, guard: Guard) -> None:
        self._streams = Streams()
        self._rendering = Rendering()
        self._boards = Boards(site)
        self._notices = Notices()
        self._border = Border(guard, self._rendering)

    def routes(self) -> tuple[OpenRoute, ...]:
        border = self._border
        signing = Signing(border, self._rendering, self._streams)
        live = Live(self._rendering, self._boards, self._streams)
        buttons = Buttons(self._rendering, self._boards, self._notices)
        return (
            OpenRoute("GET", "/", border.looking(self._board)),
            OpenRoute("GET", "/events", border.looking(live.events)),
            OpenRoute("GET", "/login", border.open(signing.ask)),
            OpenRoute("POST", "/login", border.open(signing.sign_in)),
            OpenRoute("POST", "/logout", border.pressing(signing.sign_out)),
            *(
                OpenRoute(method, f"/buttons/{button.name}", handler)
                for button in (REBUILD, DISCONNECT)
                for method, handler in (
                    ("GET", border.looking(partial(buttons.ask, button=button))),
                    ("POST", border.pressing(partial(buttons.press, button=button))),
                )
            ),
            OpenRoute("GET", f"{self._rendering.static}/{{file}}", border.open(self._file)),
        )

    async def _board(self, viewing: Viewing) -> web.StreamResponse:
        board = await self._boards.read(viewing.tenant, View.read(viewing.request.query))
        # a page of two hundred takes a while, and others are waiting
        return await asyncio.to_thread(
            self._rendering.page,
            "board",
            viewing.service.clock(),
            board=board,
            title=title(board),
            visit=viewing.visit,
            notice=self._notices.take(viewing.visit.id),
        )

    async def _file(self, request: web.Request, site: Site) -> web.StreamResponse:
        found = self._rendering.file(request.match_info["file"])
        if found is None:
            raise not_there("this file")
        return found
