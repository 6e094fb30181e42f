"""What a handler is, and what it is given. Every route stands in a table, with who may call it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from reconciler.service.access import Principal, Role
from reconciler.service.http.bodies import read_body, read_json
from reconciler.service.http.encoder import Encoder
from reconciler.service.http.snapshots import Snapshots
from reconciler.service.http.versions import Version
from reconciler.service.mail.reading import Readers
from reconciler.service.service import Service

if TYPE_CHECKING:
    from reconciler.service.supervisor.supervisor import Supervisor

SMALL_BODY: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What one caller may ask of the service. Times are seconds.

    `rate` requests a second and `burst` at once hold for one token, as does `at_once` for those
    that are under way; `failures` is how often an address may come with a bad token in a minute.
    """

    rate: float = 1_000
    burst: int = 4_000
    at_once: int = 256
    failures: int = 30
    header_seconds: float = 30
    body_seconds: float = 60
    answer_seconds: float = 120


@dataclass(frozen=True, slots=True)
class Site:
    """What handlers act on.

    `readers` read what messages say. `refreshing` are the tenants that log in again just now.
    `closing` is set when the service ends: whoever waits for something then answers with what
    there is.
    """

    service: Service
    supervisor: "Supervisor"
    settings: HttpSettings = field(default_factory=HttpSettings)
    encoder: Encoder = field(default_factory=Encoder)
    snapshots: Snapshots = field(default_factory=Snapshots)
    readers: Readers = field(default_factory=Readers)
    refreshing: set[str] = field(default_factory=set)
    closing: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was let in, and who makes it.

    `version` is that of the database when the token was looked up: before the handler first waits
    for anything, what was read at the same version is still what is stored.
    """

    request: web.Request
    site: Site
    principal: Principal
    route: "Route"
    version: Version

    @property
    def service(self) -> Service:
        return self.site.service

    @property
    def tenant(self) -> str:
        return self.principal.tenant

    @property
    def name(self) -> str:
        """The gateway that the path names."""
        return self.request.match_info["name"]

    async def body(self) -> bytes:
        """The body, in `route.body` bytes and in time. Raises Problem."""
        return await read_body(self.request, self.route.body, self.site.settings.body_seconds)

    async def json(self) -> Any:
        """The body as JSON: one value in UTF-8, no key twice, not too deep. Raises Problem."""
        return read_json(self.request, await self.body())


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path of the API. `body` is how many bytes a request may bring."""

    method: str
    path: str
    handler: Handler
    role: Role
    body: int = SMALL_BODY


OpenHandler = Callable[[web.Request, Site], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class OpenRoute:
    """A path that asks for no token: it shows what is for everybody, or asks who calls itself."""

    method: str
    path: str
    handler: OpenHandler
