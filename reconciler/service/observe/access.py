"""The access log: a line for each request that was answered, with what ties it to its caller's.

It names the route and never the path or the query, which may hold what is nobody's affair.
"""

import logging
import math
import random
import re
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

logger = logging.getLogger("gateways.access")

PER_SECOND: Final = 200
"""Requests that are told of within a second."""

REQUEST_ID: Final = "X-Request-Id"

CALLER: Final = web.RequestKey("caller", str)
"""The id of the token that a request was let in with."""

_ID: Final = web.RequestKey("id", str)
_SANE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by a program: told only to who asked for everything."""


def request_id(request: web.BaseRequest) -> str:
    """The number that the caller gave his request, if it is fit to be seen, else one of ours."""
    if _ID not in request:
        given = request.headers.get(REQUEST_ID, "")
        # one of ours ties lines together and protects nothing
        own = f"{random.getrandbits(64):016x}"
        request[_ID] = given if _SANE.fullmatch(given) else own
    return request[_ID]


class AccessLog:
    """Tells of requests. In a second that has too many it counts the rest, for the next line.

    To make a line takes as long as to answer, and what reads the log would leave it out anyway.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = -math.inf
        self._told = 0
        self._left_out = 0

    def tell(self, request: web.Request, route: str, status: int, seconds: float) -> None:
        level = logging.DEBUG if route in _QUIET else logging.INFO
        if logger.isEnabledFor(level) and self._passes():
            about = {
                "method": request.method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
                "request": request_id(request),
            }
            if CALLER in request:
                about["token"] = request[CALLER]
            if self._left_out:
                about["left_out"], self._left_out = self._left_out, 0
            logger.log(level, "answered", extra=about)

    def _passes(self) -> bool:
        now = self._clock()
        if now - self._began >= 1:
            self._began, self._told = now, 0
        passes = self._told < PER_SECOND
        if passes:
            self._told += 1
        else:
            self._left_out += 1
        return passes
