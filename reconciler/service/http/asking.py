"""What a request says beside its body: parameters, preconditions, its key, its lock."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from reconciler.errors import Locked
from reconciler.model import Actor
from reconciler.service.http.problems import FieldError, Problem
from reconciler.service.http.routing import Call
from reconciler.service.lock import Leases
from reconciler.service.store import Lease, Store
from reconciler.wire_reading import actor_from

KEY: Final = "Idempotency-Key"
LOCK: Final = "Gateways-Lock"
_KEY_TEXT: Final = re.compile(r"[!-~]{1,255}")
_REVISION: Final = re.compile(r'"([0-9]{1,18})"')
_LOCK_ID: Final = re.compile(r"([0-9]{1,18})-([0-9a-f]{32})")


def whole_number(call: Call, name: str, default: int, low: int, high: int) -> int:
    """A parameter of the query. Raises Problem."""
    text = call.request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):  # noqa: PLR2004
        raise wrong_parameter(name, f"must be a whole number from {low} to {high}")
    return int(text)


def wrong_parameter(name: str, message: str) -> Problem:
    return Problem(400, "invalid", f"{name} {message}", errors=(FieldError(name, message),))


def key_of(call: Call) -> str | None:
    """The request's Idempotency-Key, made one of this token and this route: nobody can guess it.

    Raises:
        Problem: it is not written as it must be.

    """
    given = call.request.headers.get(KEY)
    if given is None:
        return None
    if not _KEY_TEXT.fullmatch(given):
        raise Problem(
            400, "invalid", f"{KEY} must be 1 to 255 visible ASCII characters", "send a UUID"
        )
    parts = (call.principal.token, call.route.method, call.route.path, given)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def required_key(call: Call) -> str:
    """The same of a request that needs one. Raises Problem."""
    key = key_of(call)
    if key is None:
        raise Problem(
            400,
            "key-required",
            f"this write needs the header {KEY}",
            "send a fresh UUID with each write, and the same one only to repeat it",
        )
    return key


def digest_of(value: Any) -> str:
    """Tells bodies apart. Never kept where a password is in one: it could be guessed from this."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def revision_of(call: Call) -> str | None:
    """The revision of If-Match; None if the request is for whatever revision there is.

    Raises:
        Problem: it is no revision.

    """
    given = call.request.headers.get("If-Match")
    if given is None or given.strip() == "*":
        return None
    found = _REVISION.fullmatch(given.strip())
    if found is None:
        raise Problem(
            400, "invalid", "If-Match must be one revision in quotes", 'for example: If-Match: "7"'
        )
    return found[1]


def actor_of(call: Call, data: Mapping[str, Any]) -> Actor:
    """Who acts: what the body says of itself, and the token, which is what the service knows."""
    told = {"commit": None, "run": "", **data}
    return replace(actor_from(told), token=call.principal.token)


def lease_of(text: str) -> Lease | None:
    """The lease that a lock's id names; None if it is no such id."""
    found = _LOCK_ID.fullmatch(text)
    return Lease(int(found[1]), found[2], "", "", "", "") if found else None


def check_lock(call: Call, connection: sqlite3.Connection) -> None:
    """Refuse a write whose lock was lost; one that names no lock goes on.

    Raises:
        Problem: the lock is another's now, or its lease ran out.

    """
    text = call.request.headers.get(LOCK)
    if text is None:
        return
    lease = lease_of(text)
    if lease is None:
        raise lock_lost()
    try:
        Leases(Store(connection, call.tenant), call.service.clock).check(lease)
    except Locked:
        raise lock_lost() from None


def lock_lost() -> Problem:
    return Problem(
        423,
        "lock-lost",
        "the lock was lost: its lease ran out before it was renewed",
        "run the apply again",
    )
