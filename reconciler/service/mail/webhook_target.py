"""Where announcements go: which addresses may be given, and one attempt at one of them.

Whoever registers a target chooses whom this process talks to. So every address of its host is
judged at every attempt, and the connection is made to an address that was judged: a name that
answers otherwise the next moment changes nothing.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from reconciler.errors import InvalidInput
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.addresses import Address, Resolve, is_public
from reconciler.service.sessions.resolver import Resolver

MAX_URL: Final = 2_000
MAX_ANSWER: Final = 64 * 1024
_HTTPS: Final = 443
_LOOK_UPS: Final = 32
_FIRST_FREE_PORT: Final = 1024
_WRITTEN: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_NOT_PUBLIC: Final = "its host has an address that is not public"


class Outcome(Enum):
    """What an attempt came to: taken, to be tried again, or not wanted any more."""

    TAKEN = "taken"
    AGAIN = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Answer:
    """`words` are ours and may be shown. `pause` is for how many seconds the target asked."""

    outcome: Outcome
    words: str
    pause: float = 0


def target(text: str, *, private_hosts: bool) -> str:
    """The URL as it is stored, or why it cannot be a target.

    Raises:
        InvalidInput: it is no URL, or one that is never sent to.

    """
    if len(text) > MAX_URL:
        raise _refused(f"it is longer than {MAX_URL} characters")
    if not _WRITTEN.fullmatch(text):
        raise _refused("it is no https URL in ASCII", "for example https://example.com/mail")
    try:
        url = URL(text)
    except ValueError:
        raise _refused("it is no URL", "for example https://example.com/mail") from None
    if not url.host or url.user is not None or url.password is not None or url.fragment:
        raise _refused(
            "it needs a host, and can have neither user nor password nor fragment",
            "put what tells your receiver apart into its path or query",
        )
    if (why := _unwanted(url, private_hosts=private_hosts)) is not None:
        raise _refused(*why)
    return str(url)


def _unwanted(url: URL, *, private_hosts: bool) -> tuple[str, str] | None:
    """Why a target is refused that needs no look-up to be judged."""
    address = _literal(url)
    local = url.host == "localhost" or (address is not None and address.is_loopback)
    if url.scheme != "https" and not (private_hosts and local):
        return "http is for loopback alone", "use https"
    if private_hosts:
        return None
    if local or (address is not None and not is_public(address)):
        return _NOT_PUBLIC, "this service sends only to public addresses (serve --private-hosts)"
    if url.port != _HTTPS and (url.port or 0) < _FIRST_FREE_PORT:
        return f"port {url.port} is another service's", "use 443, or one from 1024 on"
    return None


def _literal(url: URL) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(url.host or "")
    except ValueError:
        return None


def _refused(why: str, hint: str = "") -> InvalidInput:
    return InvalidInput(why, hint)


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes attempts. `seconds` is for one as a whole, from the look-up to the last byte read."""

    tls: ssl.SSLContext
    private_hosts: bool
    seconds: float = 15
    resolve: Resolve = field(default_factory=lambda: Resolver(_LOOK_UPS).resolve)

    async def call(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt; whatever becomes of it is an answer."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._call(URL(url), body, headers)
        except TimeoutError:
            return Answer(Outcome.AGAIN, f"no answer within {self.seconds:g} seconds")
        except SessionError as error:
            return Answer(Outcome.AGAIN, error.failure.message)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(Outcome.AGAIN, _in_words(error))

    async def _call(self, url: URL, body: bytes, headers: Mapping[str, str]) -> Answer:
        found = await self.resolve(url.host or "", url.port or _HTTPS)
        if not self._may_go_to(found, url):
            return Answer(Outcome.AGAIN, _NOT_PUBLIC)
        connector = aiohttp.TCPConnector(
            resolver=_Judged(found), ssl=self.tls, use_dns_cache=False, force_close=True
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            auto_decompress=False,
        )
        # not through a literal address in the URL: aiohttp would connect to that without asking us
        async with (
            session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            answer = _answer(response)
            await self._read_off(response)
            return answer

    def _may_go_to(self, found: tuple[Address, ...], url: URL) -> bool:
        addresses = [
            ipaddress.ip_address(str(address[0]).partition("%")[0]) for _, address in found
        ]
        if url.scheme != "https" and not all(address.is_loopback for address in addresses):
            return False
        return self.private_hosts or all(is_public(address) for address in addresses)

    async def _read_off(self, response: aiohttp.ClientResponse) -> None:
        """Let a receiver finish its answer, within reason: what it says there is not looked at."""
        left = MAX_ANSWER
        try:
            async with asyncio.timeout(1):
                while left > 0 and (piece := await response.content.read(left)):
                    left -= len(piece)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return


class _Judged(AbstractResolver):
    """Answers every look-up with the addresses that were judged."""

    def __init__(self, addresses: tuple[Address, ...]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in self._addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""


def _answer(response: aiohttp.ClientResponse) -> Answer:
    status = response.status
    words = f"answered {status}"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer(Outcome.TAKEN, words)
    if status == HTTPStatus.GONE:
        return Answer(Outcome.GONE, words)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Answer(Outcome.AGAIN, f"{words}: a redirect is never followed")
    asked = response.headers.get("Retry-After", "")
    return Answer(Outcome.AGAIN, words, float(asked) if _DIGITS.fullmatch(asked) else 0)


def _in_words(error: Exception) -> str:
    """What went wrong, in our own words: an error's own may hold the URL, or the target's text."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted, or not for this host"
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return "the TLS handshake failed"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "it refuses the connection: nothing listens there"
        case aiohttp.ClientConnectorError():
            return "it cannot be connected"
        case aiohttp.ClientResponseError() | ValueError():
            return "its answer is not HTTP as it is read here"
        case _:
            return "the connection was lost before an answer"
