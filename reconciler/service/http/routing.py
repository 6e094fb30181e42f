"""What a handler is, and what it is given. Every route stands in a table, with who may call it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from reconciler.service.access import Principal, Role
from reconciler.service.service import Service

if TYPE_CHECKING:
    from reconciler.service.supervisor.supervisor import Supervisor

SMALL_BODY: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Site:
    """What handlers act on."""

    service: Service
    supervisor: "Supervisor"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and who makes it."""

    request: web.Request
    site: Site
    principal: Principal

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


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path of the API. `body` is how many bytes a request may bring."""

    method: str
    path: str
    handler: Handler
    role: Role
    body: int = SMALL_BODY
