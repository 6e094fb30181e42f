"""Writing gateways: create, edit, adopt, rebuild, disconnect.

Each is carried out, audited and remembered under its key in one transaction, and answered after.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from reconciler.model import ActualGateway, Cause, DesiredGateway, Secret
from reconciler.service.access import Role
from reconciler.service.feed import About
from reconciler.service.http.asking import (
    LOCK,
    actor_of,
    check_lock,
    digest_of,
    required_key,
    revision_of,
)
from reconciler.service.http.contract import invalid, judge
from reconciler.service.http.gateways import answer
from reconciler.service.http.guard import forbidden
from reconciler.service.http.problems import FieldError, Problem
from reconciler.service.http.repeats import forget_old
from reconciler.service.http.routing import Call, Route
from reconciler.service.http.wishes import desired_of
from reconciler.service.store import Store
from reconciler.service.writes import Asked, Writes

Job = Callable[[Writes], ActualGateway]


async def put(call: Call) -> web.StreamResponse:
    """Create with If-None-Match: *, edit with If-Match."""
    key, headers = required_key(call), call.request.headers
    creates, edits = "If-None-Match" in headers, "If-Match" in headers
    if not creates and not edits:
        raise Problem(
            428,
            "precondition-required",
            "a gateway is created with If-None-Match: * and edited with If-Match",
            "send If-Match with the ETag of the last answer",
        )
    if creates and (edits or headers["If-None-Match"].strip() != "*"):
        raise Problem(400, "invalid", "If-None-Match must be *, and If-Match absent")
    body = await call.json()
    desired = desired_of(body, call.name)
    if edits and "reconnect" not in body:
        raise invalid([FieldError("reconnect", "is missing")])
    # who applies holds the lock
    applies = LOCK in headers
    asked = Asked(actor_of(call, body["actor"]), key, revision_of(call), applies=applies)

    def job(writes: Writes) -> ActualGateway:
        wish = _told_apart(writes, desired, body)
        if creates:
            return writes.create(wish, asked)
        return writes.edit(wish, asked, reconnect=body["reconnect"])

    actual = await write(call, body["owner"], job)
    response = answer_of(call, actual, 201 if creates else 200)
    if creates:
        response.headers["Location"] = f"/v1/gateways/{call.name}"
    return response


async def adopt(call: Call) -> web.StreamResponse:
    key = required_key(call)
    body = await call.json()
    desired = desired_of(body, call.name)
    asked = Asked(actor_of(call, body["actor"]), key, revision_of(call))
    actual = await write(
        call, body["owner"], lambda writes: writes.adopt(_told_apart(writes, desired, body), asked)
    )
    return answer_of(call, actual)


async def rebuild(call: Call) -> web.StreamResponse:
    key = required_key(call)
    body = await call.json()
    judge("Rebuild", body)
    asked = Asked(actor_of(call, body["actor"]), key, revision_of(call), digest_of(body))
    force = body.get("force", False)
    actual = await write(call, "", lambda writes: writes.rebuild(call.name, asked, force=force))
    return answer_of(call, actual)


async def disconnect(call: Call) -> web.StreamResponse:
    key = required_key(call)
    body = await call.json()
    judge("Disconnect", body)
    cause = Cause(body["cause"])
    if cause is not Cause.BY_HAND and not call.principal.role.allows(Role.APPLY):
        raise forbidden(Role.APPLY)
    asked = Asked(actor_of(call, body["actor"]), key, revision_of(call), digest_of(body))
    actual = await write(
        call, body["owner"], lambda writes: writes.disconnect(call.name, asked, cause=cause)
    )
    return answer_of(call, actual)


async def write(call: Call, owner: str, job: Job) -> ActualGateway:
    """Carry out a write under the request's lock, and tell who keeps the sessions.

    Raises:
        Problem: the lock was lost.

    """
    service = call.service

    def locked(connection: sqlite3.Connection) -> ActualGateway:
        check_lock(call, connection)
        store = Store(connection, call.tenant)
        forget_old(call, store)
        return job(Writes(store, service.vault, owner, service.clock))

    actual = await service.write(locked)
    service.feed.tell(About.GATEWAY, call.tenant, actual.gateway.name)
    return actual


def answer_of(call: Call, actual: ActualGateway, status: int = 200) -> web.Response:
    return answer(call.site.encoder.encoded(actual), status)


def _told_apart(writes: Writes, desired: DesiredGateway, body: dict[str, Any]) -> DesiredGateway:
    """The wish with a digest of the whole body, by which a repeated write is known.

    Where a password is in it the digest is keyed: of a plain one it could be guessed.
    """
    if desired.password is None:
        return replace(desired, ciphertext=digest_of(body))
    writes.vault.unlock(writes.store.key_check())
    whole = Secret(digest_of(body))
    return replace(desired, ciphertext=writes.vault.credential("", None, whole))


_CHANGES: Final = 512 * 1024
"""Bytes of a gateway with its certificate, of 64 KiB at most, as JSON."""

ROUTES: Final = (
    Route("PUT", "/v1/gateways/{name}", put, Role.APPLY, _CHANGES),
    Route("POST", "/v1/gateways/{name}/adopt", adopt, Role.APPLY, _CHANGES),
    Route("POST", "/v1/gateways/{name}/rebuild", rebuild, Role.OPERATE),
    Route("POST", "/v1/gateways/{name}/disconnect", disconnect, Role.OPERATE),
)
