"""One request to a forge's API, and what its answer means for people."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aiohttp

from reconciler.errors import PlatformUnavailable
from reconciler.model import Secret

PAGE: Final = 100
MAX_PAGES: Final = 50
_SECONDS: Final = 30.0
_PAUSES: Final = (1.0, 2.0, 4.0)
_MAX_ANSWER: Final = 16 * 1024 * 1024
_MAX_SAID: Final = 200
_REDIRECTS: Final = 300
_ERRORS: Final = 400
_SERVER_ERRORS: Final = 500
_NOT_WRITTEN: Final = frozenset({429})
_MAY_PASS: Final = frozenset({429, 500, 502, 503, 504})
_MEANING: Final[Mapping[int, tuple[str, str]]] = {
    401: ("does not accept the token", "check that it is not expired"),
    403: ("does not let the token comment", "give the job permission to write to pull requests"),
    404: ("knows no such pull request, or does not show it", "check --repository and --number"),
}

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Api:
    """A forge's API. The token goes in a header to this address, and redirects are not followed."""

    url: str
    header: str
    token: Secret

    @property
    def place(self) -> str:
        """The address as it may be shown: some put a password into it."""
        scheme, separator, rest = self.url.partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer as data. What may pass is tried again; a repeated comment is then replaced.

        Raises:
            PlatformUnavailable: it cannot be reached, or refuses.

        """
        # a comment that was perhaps written must not be written twice
        may_pass = _NOT_WRITTEN if method == "POST" else _MAY_PASS
        status, data = await self._once(method, path, body)
        for pause in _PAUSES:
            if status not in may_pass:
                break
            await asyncio.sleep(pause)
            status, data = await self._once(method, path, body)
        if status < _REDIRECTS:
            return data
        said, hint = _MEANING.get(status) or _meaning(status, data)
        raise PlatformUnavailable(f"{self.place} {said}", hint)

    async def entry(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """The answer, where it is one entry."""
        answer = await self.call(method, path, body)
        if not isinstance(answer, Mapping):
            raise self._no_forge()
        return answer

    def value(self, entry: Mapping[str, Any], key: str, kind: type[Kind]) -> Kind:
        """What an entry has under `key`, of the type that it must have."""
        found = entry.get(key)
        if not isinstance(found, kind):
            raise self._no_forge()
        return found

    async def pages(self, path: str) -> AsyncIterator[Mapping[str, Any]]:
        """Every entry of a list, page by page."""
        for page in range(1, MAX_PAGES + 1):
            entries = await self.call("GET", f"{path}?per_page={PAGE}&page={page}")
            if not isinstance(entries, list):
                raise self._no_forge()
            for entry in entries:
                if not isinstance(entry, Mapping):
                    raise self._no_forge()
                yield entry
            if len(entries) < PAGE:
                return

    async def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, Any]:
        name, _, scheme = self.header.partition(": ")
        headers = {name: f"{scheme}{self.token.reveal()}", "Accept": "application/json"}
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=_SECONDS),
                    trust_env=True,
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as session,
                session.request(
                    method, self.url + path, json=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                return answer.status, _data(await _whole(answer))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PlatformUnavailable(
                f"{self.place} cannot be reached ({type(error).__name__})",
                "check the network; the comment can be printed with --print",
            ) from None

    def _no_forge(self) -> PlatformUnavailable:
        return PlatformUnavailable(
            f"{self.place} answers, but not as the API of a forge does",
            "a proxy or a page to log in may stand in between; in a job, GITHUB_API_URL or "
            "CI_API_V4_URL says where the API is",
        )


def _meaning(status: int, data: object) -> tuple[str, str]:
    """What an answer of another status says, with the forge's own words where it gives any."""
    words = data.get("message") if isinstance(data, Mapping) else None
    said = f": {words[:_MAX_SAID]}" if isinstance(words, str) and words else ""
    if status < _ERRORS:
        hint = "a repository that was renamed or moved answers so: check --repository"
    elif status < _SERVER_ERRORS:
        hint = "the comment can be printed with --print"
    else:
        hint = "try again later"
    return f"answered with status {status}{said}", hint


def _data(content: bytes) -> Any:
    """The body as data; None for what is not JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """The body; what is longer than any page of comments is cut off, and then no JSON."""
    content = bytearray()
    async for piece in answer.content.iter_any():
        content += piece
        if len(content) > _MAX_ANSWER:
            break
    return bytes(content)
