"""The one way in: who calls, whether he may, how often, and what a fault looks like outside."""

import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from reconciler.errors import GatewaysError
from reconciler.service.access import Role
from reconciler.service.http.callers import Caller, Callers
from reconciler.service.http.limits import Bucket, Buckets
from reconciler.service.http.problems import Problem, problem_of
from reconciler.service.http.routing import Call, OpenRoute, Route, Site
from reconciler.service.observe import access
from reconciler.service.observe.metrics import Metrics

logger = logging.getLogger("gateways.http")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer carries, unless its handler says otherwise."""

TENANT: Final = "Gateways-Tenant"
"""Whose gateways who calls believes to see: a token of another tenant would show him no fault."""

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="gateways"'}


class _Answers:
    """What becomes of the requests of one route, counted."""

    def __init__(self, metrics: Metrics, log: access.AccessLog, method: str, path: str) -> None:
        self._log = log
        self._path = path
        self._where = f"{method} {path}"
        self._seconds = metrics.requests.labels(method, path)
        self._classes = [metrics.answers.labels(method, path, f"{one}xx") for one in range(6)]

    def counted(
        self, request: web.Request, response: web.StreamResponse, began: float
    ) -> web.StreamResponse:
        seconds = time.perf_counter() - began
        self._seconds.observe(seconds)
        self._classes[response.status // 100].inc()
        self._log.tell(request, self._path, response.status, seconds)
        return response

    def refused(self, request: web.Request, error: Exception, began: float) -> web.StreamResponse:
        """Raises ConnectionError where an answer has begun: it must not look like a whole one."""
        response = self.counted(request, refusal(error, self._where), began)
        if request.writer.output_size:
            raise ConnectionError("the answer had begun") from None
        return response


class Guard:
    """Wraps handlers of routes into those that aiohttp calls."""

    def __init__(self, site: Site) -> None:
        settings = site.settings
        self._site = site
        self._log = access.AccessLog()
        self._callers = Callers(site.service.clock)
        self._tokens = Buckets(settings.rate, settings.burst)
        self._strangers = Buckets(settings.failures / 60, settings.failures)

    def guarded(self, route: Route) -> Handler:
        return self._answered(route, lambda request: self._let_in(request, route))

    def open(self, route: OpenRoute) -> Handler:
        return self._answered(route, lambda request: route.handler(request, self._site))

    def _answered(self, route: Route | OpenRoute, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            began = time.perf_counter()
            try:
                response = await handler(request)
            except ConnectionError:
                raise  # who asked is gone: there is nobody to answer
            except Exception as error:  # noqa: BLE001 - the one border at which a bug is caught
                return answers.refused(request, error, began)
            return answers.counted(request, response, began)

        answers = _Answers(self._site.service.metrics, self._log, route.method, route.path)
        return handle

    async def _let_in(self, request: web.Request, route: Route) -> web.StreamResponse:
        caller = await self._known(request)
        principal = caller.principal
        request[access.CALLER] = principal.token
        bucket = self._tokens.of(principal.token, time.monotonic())
        self._count(bucket)
        if not principal.role.allows(route.role):
            raise forbidden(route.role)
        bucket.at_once += 1
        try:
            return await route.handler(Call(request, self._site, principal, route, caller.version))
        finally:
            bucket.at_once -= 1

    async def _known(self, request: web.Request) -> Caller:
        header = request.headers.get("Authorization", "")
        if not header:
            raise unauthorized("this needs a token")
        caller = self._callers.remembered(header) or await self._site.service.look(
            lambda connection: self._callers.find(connection, header)
        )
        if caller is None:
            self.stranger(request)
            raise unauthorized("the token is not known, or has ended")
        tenant = caller.principal.tenant
        if request.headers.get(TENANT, tenant) != tenant:
            raise Problem(
                403,
                "forbidden",
                f"the token is not of the tenant that the request names ({TENANT})",
                "correct `tenant` of the target, or use a token of that tenant",
            )
        return caller

    def _count(self, bucket: Bucket) -> None:
        if bucket.left < 1:
            raise _too_many("too many requests with this token", self._tokens.wait(bucket))
        if bucket.at_once >= self._site.settings.at_once:
            raise _too_many("too many requests of this token are under way", 1)
        bucket.left -= 1

    def allow(self, token: str) -> None:
        """Count a request of a browser that was signed in with a token. Raises Problem."""
        self._count(self._tokens.of(token, time.monotonic()))

    def stranger(self, request: web.Request) -> None:
        """Few are wrong twice by mistake: who guesses is told to wait. Raises Problem."""
        bucket = self._strangers.of(_network(request.remote or ""), time.monotonic())
        if bucket.left < 1:
            raise _too_many("too many wrong tokens from this address", self._strangers.wait(bucket))
        bucket.left -= 1


def _network(address: str) -> str:
    """Whom an address belongs to: of IPv6 everybody has 2 to the 64th."""
    return ":".join(address.split(":")[:4]) if ":" in address else address


def adorn(response: web.StreamResponse) -> None:
    """Put on what every answer carries."""
    headers = response.headers
    for name, value in HEADERS.items():
        if name not in headers:
            headers[name] = value
    headers["Server"] = "gateways"  # in place of the names and versions of what it is made of


def refusal(error: Exception, where: str) -> web.Response:
    """The answer to an error."""
    return problem_for(error, where).response()


def problem_for(error: Exception, where: str) -> Problem:
    """What an error is outside. What nobody expected is told by a number that is in the log."""
    if isinstance(error, GatewaysError):
        error = problem_of(error)
    if isinstance(error, web.HTTPException):
        error = _of_aiohttp(error)
    if not isinstance(error, Problem):
        incident = secrets.token_hex(6)
        # the type and the place: a message may hold what a request brought
        logger.error(
            "incident %s: %s while answering %s",
            incident,
            type(error).__name__,
            where,
            exc_info=(type(error), _Untold(), error.__traceback__),
        )
        error = Problem(500, "internal", f"incident {incident} stands in the service's log")
    return error


class _Untold(Exception):
    """Stands for an error whose message nobody may read."""


def unauthorized(why: str) -> Problem:
    return Problem(401, "unauthorized", why, "send Authorization: Bearer TOKEN", headers=_CHALLENGE)


def forbidden(role: Role) -> Problem:
    return Problem(
        403,
        "forbidden",
        f"this needs a token of role {role.value}",
        f"make one with: gateways token new --role {role.value}; read looks, operate presses the "
        "two buttons too, apply writes too, send is for mail",
    )


def _too_many(why: str, seconds: float) -> Problem:
    wait = max(1, math.ceil(seconds))
    return Problem(
        429,
        "too-many-requests",
        why,
        f"ask again in {wait} seconds",
        headers={"Retry-After": str(wait)},
    )


def _of_aiohttp(error: web.HTTPException) -> Problem:
    match error.status:
        case 404:
            return Problem(404, "not-found", "there is no such path", "/docs lists them")
        case 405:
            allowed = error.headers.get("Allow", "")
            return Problem(
                405,
                "not-allowed",
                f"this path takes {allowed}",
                headers={"Allow": allowed},
            )
        case 413:
            return Problem(413, "too-large", "the body is too large")
        case _:
            return Problem(error.status, "invalid", error.reason)
