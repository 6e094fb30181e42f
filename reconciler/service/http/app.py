"""The HTTP API as an aiohttp application."""

from aiohttp import web

from reconciler.service.access import Tokens
from reconciler.service.http.routing import Call, Route, Site
from reconciler.tokens import Token

ROUTES: tuple[Route, ...] = ()


def make_app(site: Site) -> web.Application:
    app = web.Application()
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _guarded(site, route))
    return app


def _guarded(site: Site, route: Route):  # type: ignore[no-untyped-def]  # noqa: ANN202
    async def handle(request: web.Request) -> web.StreamResponse:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        try:
            token = Token.parse(text)
        except ValueError:
            raise web.HTTPUnauthorized from None
        principal = await site.service.look(
            lambda connection: Tokens(connection, site.service.clock).find(token)
        )
        if principal is None:
            raise web.HTTPUnauthorized
        if not principal.role.allows(route.role):
            raise web.HTTPForbidden
        return await route.handler(Call(request, site, principal))

    return handle
