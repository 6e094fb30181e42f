"""The HTTP API as an aiohttp application: every route, guarded."""

from functools import partial
from typing import Final

from aiohttp import HttpVersion11, web

from reconciler.service.http import (
    changes,
    contract,
    document,
    gateways,
    inbox,
    locks,
    outbox,
    refresh,
    trail,
    webhooks,
)
from reconciler.service.http.guard import Guard, adorn
from reconciler.service.http.health import Health
from reconciler.service.http.page.monitoring import Monitoring
from reconciler.service.http.problems import Problem
from reconciler.service.http.routing import OpenRoute, Route, Site
from reconciler.service.observe.access import REQUEST_ID, request_id

ROUTES: Final[tuple[Route, ...]] = (
    *gateways.ROUTES,
    *changes.ROUTES,
    *refresh.ROUTES,
    *trail.ROUTES,
    *locks.ROUTES,
    *inbox.ROUTES,
    *outbox.ROUTES,
    *webhooks.ROUTES,
)
"""What asks for a token."""

OPEN_ROUTES: Final[tuple[OpenRoute, ...]] = (*document.ROUTES,)


SITE: Final = web.AppKey("site", Site)


def make_app(site: Site) -> web.Application:
    app = web.Application()
    app.on_response_prepare.append(_adorn)
    app.on_shutdown.append(_close)
    app.on_cleanup.append(_clean_up)
    app[SITE] = site
    contract.document()  # read now, when nobody waits for it
    guard = Guard(site)
    add = partial(app.router.add_route, expect_handler=_expect)
    for route in ROUTES:
        add(route.method, route.path, guard.guarded(route))
    watched = (*Health(site).routes(), *Monitoring(site, guard).routes())
    for way in (*OPEN_ROUTES, *watched, _ELSEWHERE):
        add(way.method, way.path, guard.open(way))
    return app


async def _elsewhere(request: web.Request, _site: Site) -> web.StreamResponse:
    """What no route answers is a problem like any other."""
    own = request.match_info.route.resource
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource is not own:
            _, methods = await resource.resolve(request)
            allowed |= methods
    if not allowed:
        raise Problem(404, "not-found", "there is no such path", "/docs lists them")
    listed = ", ".join(sorted(allowed))
    raise Problem(405, "not-allowed", f"this path takes {listed}", headers={"Allow": listed})


_ELSEWHERE: Final = OpenRoute("*", "/{path:.*}", _elsewhere)


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Tell who asks before sending a body to go on; who expects more is refused."""
    if request.headers["Expect"].lower() != "100-continue":
        return Problem(417, "invalid", "only Expect: 100-continue is understood").response()
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return None


async def _close(app: web.Application) -> None:
    app[SITE].closing.set()


async def _clean_up(app: web.Application) -> None:
    await app[SITE].readers.close()


async def _adorn(request: web.Request, response: web.StreamResponse) -> None:
    adorn(response)
    response.headers[REQUEST_ID] = request_id(request)
