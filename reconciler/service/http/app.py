"""The HTTP API as an aiohttp application: every route, guarded."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from reconciler.service.http import changes, gateways, locks, refresh, trail
from reconciler.service.http.guard import Guard, adorn, refusal
from reconciler.service.http.page.monitoring import Monitoring
from reconciler.service.http.routing import OpenRoute, Route, Site

ROUTES: Final[tuple[Route, ...]] = (
    *gateways.ROUTES,
    *changes.ROUTES,
    *refresh.ROUTES,
    *trail.ROUTES,
    *locks.ROUTES,
)
"""What asks for a token."""

OPEN_ROUTES: Final[tuple[OpenRoute, ...]] = ()


SITE: Final = web.AppKey("site", Site)


def make_app(site: Site) -> web.Application:
    app = web.Application(middlewares=[_elsewhere])
    app.on_response_prepare.append(_adorn)
    app.on_shutdown.append(_close)
    app[SITE] = site
    guard = Guard(site)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, guard.guarded(route))
    for way in (*OPEN_ROUTES, *Monitoring(site, guard).routes()):
        app.router.add_route(way.method, way.path, guard.open(way))
    return app


@web.middleware
async def _elsewhere(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What no route answers is a problem like any other."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return refusal(error, "no route")


async def _close(app: web.Application) -> None:
    app[SITE].closing.set()


async def _adorn(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    adorn(response)
