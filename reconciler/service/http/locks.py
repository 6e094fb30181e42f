"""The lock that an apply holds: taken, renewed while it works, and given back."""

import sqlite3
from typing import Any, Final

from aiohttp import web

from reconciler.clock import stamp
from reconciler.errors import Locked
from reconciler.model import Actor
from reconciler.service.access import Role
from reconciler.service.http.asking import actor_of, lease_of, lock_lost
from reconciler.service.http.contract import judge
from reconciler.service.http.problems import Problem
from reconciler.service.http.repeats import once
from reconciler.service.http.routing import Call, Route
from reconciler.service.lock import APPLY, Leases
from reconciler.service.store import AuditEntry, Lease, Store

SECONDS: Final = 30


async def take(call: Call) -> web.StreamResponse:
    body = await call.json()
    judge("LockRequest", body)
    actor = actor_of(call, body["actor"])

    def taken(connection: sqlite3.Connection) -> dict[str, Any]:
        leases = _leases(call, connection)
        try:
            lease = leases.take(actor)
        except Locked as error:
            raise _held(error, leases.store.lease(APPLY)) from None
        _audit(call, leases.store, "lock", actor)
        return _shown(lease)

    lock = await call.service.write(
        lambda connection: once(call, connection, body, lambda: taken(connection))
    )
    return web.json_response(lock, status=201, headers={"Location": f"/v1/lock/{lock['id']}"})


async def renew(call: Call) -> web.StreamResponse:
    lease = _named(call)

    def job(connection: sqlite3.Connection) -> Lease:
        leases = _leases(call, connection)
        held = leases.store.lease(APPLY)
        try:
            leases.check(lease)
        except Locked:
            raise lock_lost() from None
        if held:
            leases.renew(held)
        return lease

    return web.json_response(_shown(await call.service.write(job)))


async def give_back(call: Call) -> web.StreamResponse:
    """Giving back what is not held any more changes nothing, and is no mistake."""
    lease = _named(call)

    def job(connection: sqlite3.Connection) -> None:
        leases = _leases(call, connection)
        held = leases.store.lease(APPLY)
        if held and (held.fence, held.token) == (lease.fence, lease.token):
            leases.give_back(lease)
            _audit(call, leases.store, "unlock", Actor(held.holder, run=held.run))

    await call.service.write(job)
    return web.Response(status=204)


def _leases(call: Call, connection: sqlite3.Connection) -> Leases:
    return Leases(Store(connection, call.tenant), call.service.clock, SECONDS)


def _named(call: Call) -> Lease:
    lease = lease_of(call.request.match_info["id"])
    if lease is None:
        raise lock_lost()
    return lease


def _shown(lease: Lease) -> dict[str, Any]:
    return {"id": f"{lease.fence}-{lease.token}", "fence": lease.fence, "seconds": SECONDS}


def _held(error: Locked, lease: Lease | None) -> Problem:
    more = {"holder": lease.holder, "since": lease.since} if lease else {}
    return Problem(423, "locked", error.message, error.hint, more=more)


def _audit(call: Call, store: Store, action: str, actor: Actor) -> None:
    store.write_audit(
        AuditEntry(
            at=stamp(call.service.clock()),
            actor=actor.name,
            commit=actor.commit,
            run=actor.run,
            gateway="",
            action=action,
            revision="0",
            changes="[]",
            token=call.principal.token,
        )
    )


ROUTES: Final = (
    Route("POST", "/v1/lock", take, Role.APPLY),
    Route("PUT", "/v1/lock/{id}", renew, Role.APPLY),
    Route("DELETE", "/v1/lock/{id}", give_back, Role.APPLY),
)
