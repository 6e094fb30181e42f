"""Requests to the service: answered in its own words, or an error that says what is known.

Only the service's own words count. Whatever else comes back, from a proxy on the way or torn in
the middle, is no answer: the request is sent again, which its key makes harmless.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiohttp
from yarl import URL

from reconciler import __version__
from reconciler.errors import PlatformUnavailable
from reconciler.platforms.http_access import Access
from reconciler.platforms.http_problems import refusal_of
from reconciler.platforms.http_retry import Patience, Waits, retry_after
from reconciler.platforms.http_setbacks import Setback, lost, misread, redirected, unsaid

Json = dict[str, Any]
T = TypeVar("T")

MAX_ANSWER: Final = 8 * 1024 * 1024
_IN_PIECES: Final = 256 * 1024
"""A longer body is sent in pieces, or nothing else could be done meanwhile."""

_CONNECT_SECONDS: Final = 15.0
_REDIRECTS: Final = range(300, 400)
_SUCCESS: Final = range(200, 300)
_LATER: Final = frozenset({429, 503})
_NO_CONTENT: Final = 204
_JSON: Final = frozenset({"application/json", "application/problem+json"})
_UTF_8: Final = frozenset({"utf-8", "utf8"})

_encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

_MISREAD: Final = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What an answer that is not as agreed makes of whoever reads it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Its body is for the service alone; `secrets` are those that it holds.

    `writes` says that it changes something; `repeatable`, that to ask again does no harm where
    nobody knows what became of it.
    """

    method: str
    path: str
    body: Json | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    writes: bool = False
    repeatable: bool = True
    patience: Patience | None = None
    most: int = MAX_ANSWER
    secrets: tuple[str, ...] = field(default=(), repr=False)


class Doubt(PlatformUnavailable):
    """Nobody knows whether a write was carried out; `setback` is what was heard last."""

    def __init__(self, setback: Setback) -> None:
        super().__init__(
            f"{setback.error.message}; whether it was carried out is not known",
            "run the command again: it reads what is there, and does what remains",
        )
        self.setback = setback


class Client:
    """One service and one token; connections are opened when needed, and kept.

    `patience` is for every request that has none of its own.
    """

    def __init__(self, access: Access, patience: Patience) -> None:
        self.patience = patience
        self.origin = access.origin
        self._access = access
        self._session: aiohttp.ClientSession | None = None
        self._heard = False
        text = access.token.text().reveal()
        self._secrets = (text, access.token.secret.reveal())
        self._headers = {
            "Authorization": f"Bearer {text}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"gateways/{__version__}",
            **({"Gateways-Tenant": access.tenant} if access.tenant else {}),
        }

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    async def ask(self, request: Request, read: Callable[[Json], T]) -> T:
        """What `read` makes of the answer; asked for until there is one, or patience ends.

        Raises:
            Doubt: nobody knows whether a write was carried out.
            GatewaysError: it was not, and why.

        """
        loop = asyncio.get_running_loop()
        waits = Waits(request.patience or self.patience, loop.time())
        doubtful = False
        while True:
            try:
                return await self._attempt(request, read)
            except Setback as setback:
                doubtful = doubtful or setback.doubtful
                pause = None
                if setback.passing and (request.repeatable or not setback.doubtful):
                    pause = waits.pause(setback.asked, loop.time(), heard=self._heard)
                if pause is None:
                    unknown = doubtful and request.writes
                    raise (Doubt(setback) if unknown else setback.error) from None
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def stream(self, path: str, content_type: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """What is there, in pieces, if it is of that type; a lost connection is an error.

        Raises:
            GatewaysError: it is not there, or did not come whole.

        """
        timeout = aiohttp.ClientTimeout(
            sock_connect=_CONNECT_SECONDS, sock_read=self.patience.attempt
        )
        try:
            async with self._sent(Request("GET", path), timeout) as response:
                if response.status not in _SUCCESS or response.content_type != content_type:
                    self._judged(response, await _body(response, MAX_ANSWER), ())
                    raise misread(self.origin)
                yield response.content.iter_any()
        except Setback as setback:
            raise setback.error from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise lost(error, self.origin).error from None

    async def _attempt(self, request: Request, read: Callable[[Json], T]) -> T:
        seconds = (request.patience or self.patience).attempt
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS)
        try:
            async with self._sent(request, timeout) as response:
                body = await _body(response, request.most)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise lost(error, self.origin) from None
        data = self._judged(response, body, request.secrets)
        try:
            found = read(data)
        except _MISREAD:
            raise misread(self.origin) from None
        self._heard = True
        return found

    def _sent(
        self, request: Request, timeout: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {**self._headers, **request.headers}
        data: bytes | io.BytesIO | None = None
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            data = _encode(request.body).encode()
            if len(data) > _IN_PIECES:
                data = io.BytesIO(data)
        return self._opened().request(
            request.method,
            URL(self.origin + request.path, encoded=True),
            data=data,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            proxy=self._access.proxy,
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._access.tls or True),
                # no headers of its own: they would go to a proxy too
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
            # its own second attempt would hide that the first was sent
            self._session._retry_connection = False  # noqa: SLF001 - there is no public switch
        return self._session

    def _judged(
        self, response: aiohttp.ClientResponse, body: bytes | None, secrets: tuple[str, ...]
    ) -> Json:
        """The answer, if it is one. Raises Setback."""
        status = response.status
        if status in _REDIRECTS:
            raise redirected(self.origin, response.headers.get("Location", ""))
        asked = retry_after(response.headers) if status in _LATER else None
        data = _data(response, body)
        if data is not None and status in _SUCCESS:
            return data
        refusal = refusal_of(data or {}, status, asked, (*self._secrets, *secrets))
        if refusal is None:
            raise unsaid(self.origin, status, response.content_type, asked)
        self._heard = True
        raise refusal


async def _body(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The body; None if it is longer than that."""
    if (response.content_length or 0) > most:
        return None
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most:
            return None
    return bytes(body)


def _data(response: aiohttp.ClientResponse, body: bytes | None) -> Json | None:
    """The body as JSON in UTF-8, as it is said to be; None if it is anything else."""
    if response.status == _NO_CONTENT:
        return {}
    encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    charset = (response.charset or "utf-8").lower()
    if body is None or encoded or response.content_type not in _JSON or charset not in _UTF_8:
        return None
    try:
        data = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _no_number(text: str) -> None:
    raise ValueError(text)
