"""What every request of a browser goes through: who looks, whether it came from here, and errors.

A browser sends its cookie by itself, so that a cookie proves nothing of who wrote a request. What
changes something must name an origin that is ours, and carry the token that stands in our forms.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from reconciler.service.http.bodies import read_body
from reconciler.service.http.guard import Guard, problem_for
from reconciler.service.http.page.rendering import HEADERS, Rendering
from reconciler.service.http.page.view import View
from reconciler.service.http.page.visits import LASTS, Visit, Visits
from reconciler.service.http.problems import Problem
from reconciler.service.http.routing import OpenHandler, Site
from reconciler.service.observe import access
from reconciler.service.service import Service

FORM_BYTES: Final = 8 * 1024
PART: Final = "Gateways-Part"
"""The header with which the page's script asks for a part of a page."""

_MOST_FIELDS: Final = 20
_SECURE_COOKIE: Final = "__Host-gateways"
_PLAIN_COOKIE: Final = "gateways"
_FROM_ELSEWHERE: Final = frozenset({"cross-site", "same-site"})

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Viewing:
    """One request of somebody who is signed in."""

    request: web.Request
    site: Site
    visit: Visit

    @property
    def service(self) -> Service:
        return self.site.service

    @property
    def tenant(self) -> str:
        return self.visit.principal.tenant


Looking = Callable[[Viewing], Awaitable[web.StreamResponse]]
Pressing = Callable[[Viewing, Form], Awaitable[web.StreamResponse]]


class Border:
    """Wraps the page's handlers into those of open routes: none of them asks for a bearer token."""

    def __init__(self, guard: Guard, rendering: Rendering) -> None:
        self._guard = guard
        self._rendering = rendering

    def open(self, handler: OpenHandler) -> OpenHandler:
        """For everybody. An error is a page that says what to do."""

        async def handle(request: web.Request, site: Site) -> web.StreamResponse:
            try:
                return await handler(request, site)
            except ConnectionError:
                raise
            except Exception as error:
                if request.writer.output_size:
                    raise ConnectionError("the answer had begun") from error
                problem = problem_for(error, f"{request.method} {request.path}")
                return self._told(problem, request, site)

        return handle

    def looking(self, handler: Looking) -> OpenHandler:
        """For who is signed in; everybody else is asked to."""

        async def handle(request: web.Request, site: Site) -> web.StreamResponse:
            visit = await find_visit(request, site.service)
            if visit is None:
                return self._ask_in(request, site)
            self._let_in(request, visit)
            return await handler(Viewing(request, site, visit))

        return self.open(handle)

    def pressing(self, handler: Pressing) -> OpenHandler:
        """For a form that we wrote and that somebody sent who is signed in."""

        async def handle(request: web.Request, site: Site) -> web.StreamResponse:
            refuse_from_elsewhere(request)
            visit = await find_visit(request, site.service)
            if visit is None:
                raise Problem(401, "unauthorized", "you are signed out", "sign in and try again")
            self._let_in(request, visit)
            form = await read_form(request, site)
            if not hmac.compare_digest(
                form.get("form_token", "").encode(), visit.form_token.encode()
            ):
                raise Problem(403, "forbidden", "this form is not of your visit", "open it again")
            return await handler(Viewing(request, site, visit), form)

        return self.open(handle)

    def _let_in(self, request: web.Request, visit: Visit) -> None:
        request[access.CALLER] = visit.principal.token
        self._guard.allow(visit.principal.token)

    def stranger(self, request: web.Request) -> None:
        """Count a token that was wrong; who guesses is told to wait. Raises Problem."""
        self._guard.stranger(request)

    def _ask_in(self, request: web.Request, site: Site) -> web.StreamResponse:
        now = site.service.clock()
        if request.headers.get("Sec-Fetch-Mode") == "navigate":
            if request.headers.get("Sec-Fetch-Site") in _FROM_ELSEWHERE:
                return self._rendering.page("moving", now, here=request.path_qs)
        elif PART in request.headers or request.path == "/events":
            raise Problem(401, "unauthorized", "you are signed out", "sign in")
        query = View.read(request.query).query() if request.path == "/" else ""
        return see_other(f"/login?{query}" if query else "/login")

    def _told(self, problem: Problem, request: web.Request, site: Site) -> web.Response:
        response = self._rendering.page(
            "error",
            site.service.clock(),
            problem.status,
            title=problem.title,
            detail=problem.detail,
            hint=problem.hint,
        )
        response.headers.update(problem.headers)
        return response


async def find_visit(request: web.Request, service: Service) -> Visit | None:
    cookie = request.cookies.get(_SECURE_COOKIE, "")
    if not cookie and not request.secure:
        cookie = request.cookies.get(_PLAIN_COOKIE, "")
    if not cookie:
        return None
    return await service.look(lambda found: Visits(found, service.clock).find(cookie))


def keep_cookie(request: web.Request, response: web.Response, cookie: str) -> None:
    """Give the browser its cookie: over TLS one that no other host or plain page can set."""
    secure = request.secure or request.headers.get("Origin", "").startswith("https://")
    response.set_cookie(
        _SECURE_COOKIE if secure else _PLAIN_COOKIE,
        cookie,
        max_age=int(LASTS.total_seconds()),
        path="/",
        secure=secure,
        httponly=True,
        samesite="Strict",
    )


def drop_cookies(response: web.Response) -> None:
    for name, secure in ((_SECURE_COOKIE, True), (_PLAIN_COOKIE, False)):
        response.del_cookie(name, path="/", secure=secure, httponly=True, samesite="Strict")


def refuse_from_elsewhere(request: web.Request) -> None:
    """Raises Problem unless the browser says that a page of ours sent this."""
    headers = request.headers
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    same = origin is not None and urlsplit(origin).netloc.lower() == request.host.lower()
    if site not in {None, "same-origin"} or not (same or (origin is None and site)):
        raise Problem(403, "forbidden", "this was sent from another page", "open this page itself")


def may_be_trusted(request: web.Request) -> bool:
    """Whether nobody on the way can read what is typed here.

    Behind a proxy only the browser knows: it sends Sec-Fetch headers where it is so, and only
    there.
    """
    return request.secure or "Sec-Fetch-Site" in request.headers or _is_loopback(request.host)


async def read_form(request: web.Request, site: Site) -> Form:
    """Raises Problem."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem(415, "invalid", "this is not one of the page's forms")
    body = await read_body(request, FORM_BYTES, site.settings.body_seconds)
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Problem(400, "invalid", "this is not one of the page's forms") from None
    return dict(fields)


def see_other(where: str) -> web.Response:
    return web.Response(status=303, headers={**HEADERS, "Location": where})


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
