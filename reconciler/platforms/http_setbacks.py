"""An attempt that brought nothing to go on with: what to say of it, and whether to try again."""

import os
import socket
from typing import Final

import aiohttp

from reconciler.errors import GatewaysError, PlatformUnavailable
from reconciler.platforms.http_access import CA_FILE
from reconciler.tokens import origin_of

_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10

_LONGEST: Final = 200
_ADDRESS: Final = "correct url of the target in gateways.yaml, or start the service"


class Setback(Exception):
    """Why an attempt failed, as the `error` to say if it was the last one.

    `doubtful`: the service may have carried the request out. `passing`: it may fare better later,
    after `asked` seconds where somebody says so.
    """

    def __init__(
        self,
        error: GatewaysError,
        *,
        doubtful: bool = True,
        passing: bool = True,
        asked: float | None = None,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.doubtful = doubtful
        self.passing = passing
        self.asked = asked


def lost(error: Exception, origin: str) -> Setback:
    """What a fault of the network means. Where no connection was made, nothing was sent."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _not_trusted(error.certificate_error, origin)
        case aiohttp.ClientHttpProxyError():
            return _unreached(f"{origin} cannot be reached: the proxy refuses it, {error.status}")
        case aiohttp.ClientSSLError():
            return _unreached(f"{origin} cannot be reached: no TLS 1.2 or 1.3 is spoken there")
        case aiohttp.ClientConnectorError():
            return _unreached(f"{origin} cannot be reached: {_reason(error.os_error)}")
        case aiohttp.ConnectionTimeoutError():
            return _unreached(f"{origin} cannot be reached: no connection in time")
        case TimeoutError():
            message = f"{origin} did not answer in time"
        case aiohttp.ClientResponseError():
            message = f"{origin} answered what is no HTTP"
        case _:
            message = f"the connection to {origin} was lost"
    return Setback(PlatformUnavailable(message, "look at the network, and run the command again"))


def redirected(origin: str, location: str) -> Setback:
    """Nothing is sent to where a redirect points: the token is for one address."""
    try:
        where = origin_of(location)
    except ValueError:
        where = "somewhere else"
    error = PlatformUnavailable(
        f"{origin} redirects to {where[:_LONGEST]}, which is never followed",
        "name the service's own address as url of the target",
    )
    return Setback(error)


def unsaid(origin: str, status: int, content_type: str, asked: float | None) -> Setback:
    """An answer that is not of a service of gateways, but of something on the way or in place."""
    error = PlatformUnavailable(
        f"{origin} answered {status} with {content_type[:80]!r}, which is no word of the service",
        f"if it is a proxy on the way, look there; else {_ADDRESS}",
    )
    return Setback(error, asked=asked)


def misread(origin: str) -> Setback:
    error = PlatformUnavailable(
        f"{origin} answered, but not in the way that was agreed on",
        "is the service of the same version as this program?",
    )
    return Setback(error)


def _unreached(message: str) -> Setback:
    return Setback(PlatformUnavailable(message, _ADDRESS), doubtful=False)


def _not_trusted(error: Exception, origin: str) -> Setback:
    code = getattr(error, "verify_code", 0)
    why = str(getattr(error, "verify_message", "")).rstrip(".") or "it cannot be verified"
    hint = f"if an authority of your own signed it, {CA_FILE} names that one's certificate"
    if code in {_NOT_YET_VALID, _EXPIRED}:
        hint = "renew it; and look whether this machine's clock is right"
    message = f"the certificate of {origin} is not trusted: {why}"
    return Setback(PlatformUnavailable(message, hint), doubtful=False, passing=False)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "there is no such host"
    return os.strerror(error.errno).lower() if error.errno else "the connection was cut"
