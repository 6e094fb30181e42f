"""What an error looks like to who called: problem+json (RFC 9457), and no secret in it."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from reconciler.errors import (
    AlreadyThere,
    Blocked,
    GatewaysError,
    InvalidInput,
    KeyReused,
    Locked,
    NotOurs,
    NotThere,
    PlatformUnavailable,
    RevisionMoved,
    Sealed,
    UnfitMessage,
)
from reconciler.service.faults import Busy

TYPE: Final = "urn:gateways:problem:"
BUSY_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a body, by its path: `gateway.host`. Quotes no value."""

    field: str
    message: str


class Problem(Exception):
    """An answer that is an error. `detail` is for people; a program decides on `slug`."""

    def __init__(  # noqa: PLR0913 - the last three are named where they are given
        self,
        status: int,
        slug: str,
        detail: str,
        hint: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.hint = hint
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    @property
    def title(self) -> str:
        return TITLES.get(self.slug) or HTTPStatus(self.status).phrase

    def response(self) -> web.Response:
        body: dict[str, Any] = {
            "type": TYPE + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
            **self.more,
        }
        if self.errors:
            body["errors"] = [{"field": one.field, "message": one.message} for one in self.errors]
        return web.Response(
            status=self.status,
            body=json.dumps(body).encode(),
            content_type="application/problem+json",
            headers=self.headers,
        )


def not_there(what: str = "it") -> Problem:
    """The one answer for what is not there and for what another tenant has."""
    return Problem(404, "not-found", f"{what} is not here", "ask for what the list shows")


def problem_of(error: GatewaysError) -> Problem:
    """The problem that one of our errors is to who called."""
    if isinstance(error, UnfitMessage):
        field = FieldError(error.field, error.why)
        return Problem(422, "invalid", error.message, error.hint, errors=[field])
    for kind, status, slug in _KINDS:
        if isinstance(error, kind):
            return Problem(status, slug, error.message, error.hint)
    if isinstance(error, PlatformUnavailable):
        return _of_database(error)
    return Problem(500, "internal", "the service cannot answer this", error.hint)


# the first that fits: what is special stands before what it is a kind of
_KINDS: Final = (
    (KeyReused, 422, "key-reused"),
    (AlreadyThere, 409, "exists"),
    (NotThere, 404, "not-found"),
    (RevisionMoved, 412, "revision-moved"),
    (NotOurs, 409, "not-ours"),
    (Blocked, 409, "blocked"),
    (Locked, 423, "locked"),
    (InvalidInput, 422, "invalid"),
)


def _of_database(error: PlatformUnavailable) -> Problem:
    """Where the database is and what else SQLite says of it is nobody's affair outside."""
    if isinstance(error, Busy):
        return _BUSY
    if isinstance(error, Sealed):
        return _SEALED
    if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return Problem(507, "storage-full", "the service has no space left; nothing was stored")
    return Problem(503, "unavailable", "the service cannot use its database now")


_BUSY: Final = Problem(
    503,
    "busy",
    "another program keeps the service's database locked",
    "ask again in a few seconds; a repeated write with its Idempotency-Key is harmless",
    headers={"Retry-After": str(BUSY_SECONDS)},
)
_SEALED: Final = Problem(
    503,
    "sealed",
    "the service has not the key of its database, so that no password can be stored or used",
    "whoever runs the service has to put the key back",
)

TITLES: Final = {
    "invalid": "The request is not valid",
    "unauthorized": "A token is needed",
    "forbidden": "This is not allowed",
    "not-found": "Not found",
    "not-allowed": "The path does not take this method",
    "exists": "The gateway is there already",
    "not-ours": "The gateway belongs to another owner",
    "blocked": "The gateway cannot be changed like this",
    "revision-moved": "The gateway has changed since",
    "precondition-required": "If-Match or If-None-Match is needed",
    "key-required": "An Idempotency-Key is needed",
    "key-reused": "The Idempotency-Key was used for another request",
    "locked": "Another apply holds the lock",
    "lock-lost": "The lock was lost",
    "too-large": "The request is too large",
    "too-many-requests": "Too many requests",
    "sealed": "The service has no key for passwords",
    "storage-full": "No space left",
    "busy": "The database is locked",
    "snapshot-gone": "The snapshot is gone",
    "unavailable": "The service is not available",
    "internal": "The service has a fault",
}
