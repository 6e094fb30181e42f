"""Signing in with an access token, and out again."""

import logging
from typing import Final

from aiohttp import web

from reconciler.service.access import Principal, Role, Tokens
from reconciler.service.http.page.border import (
    Border,
    Form,
    Viewing,
    drop_cookies,
    find_visit,
    keep_cookie,
    may_be_trusted,
    read_form,
    refuse_from_elsewhere,
    see_other,
)
from reconciler.service.http.page.rendering import Rendering
from reconciler.service.http.page.streams import Streams
from reconciler.service.http.page.view import View
from reconciler.service.http.page.visits import Visit, Visits
from reconciler.service.http.routing import Site
from reconciler.tokens import Token

logger = logging.getLogger("gateways.page")

_UNKNOWN: Final = "This token is not known here, or it has ended."
_SEND: Final = (
    "This token is for sending messages. Looking at gateways needs one of role read, operate or "
    "apply."
)


class Signing:
    def __init__(self, border: Border, rendering: Rendering, streams: Streams) -> None:
        self._border = border
        self._rendering = rendering
        self._streams = streams

    async def ask(self, request: web.Request, site: Site) -> web.StreamResponse:
        if await find_visit(request, site.service):
            return see_other(View.read(request.query).url())
        return self._page(request, site)

    async def sign_in(self, request: web.Request, site: Site) -> web.StreamResponse:
        refuse_from_elsewhere(request)
        view = View.read(request.query)
        if not may_be_trusted(request):
            return self._page(request, site, status=403)
        form = await read_form(request, site)
        principal = await _principal(form.get("token", "").strip(), site)
        if principal is None:
            self._border.stranger(request)
            return self._page(request, site, _UNKNOWN, status=401)
        if not principal.role.allows(Role.READ):
            return self._page(request, site, _SEND, status=403)
        before = await find_visit(request, site.service)
        cookie = await site.service.write(
            lambda connection: _begin(Visits(connection, site.service.clock), principal, before)
        )
        if before:
            self._streams.end(before.id)
        logger.info("token %s of tenant %s signed in", principal.token, principal.tenant)
        response = see_other(view.url())
        keep_cookie(request, response, cookie)
        return response

    async def sign_out(self, viewing: Viewing, _form: Form) -> web.StreamResponse:
        service, visit = viewing.service, viewing.visit
        await service.write(lambda connection: Visits(connection, service.clock).end(visit.id))
        self._streams.end(visit.id)
        response = see_other("/login")
        drop_cookies(response)
        return response

    def _page(
        self, request: web.Request, site: Site, refused: str = "", *, status: int = 200
    ) -> web.Response:
        return self._rendering.page(
            "login",
            site.service.clock(),
            status,
            refused=refused,
            plain=not may_be_trusted(request),
            view=View.read(request.query),
        )


async def _principal(text: str, site: Site) -> Principal | None:
    try:
        token = Token.parse(text)
    except ValueError:
        return None
    service = site.service
    return await service.look(lambda connection: Tokens(connection, service.clock).find(token))


def _begin(visits: Visits, principal: Principal, before: Visit | None) -> str:
    if before:
        visits.end(before.id)
    return visits.begin(principal)
