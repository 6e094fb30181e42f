"""Logging in again, for who wants to know now. No status is stored; a refused login is counted."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from reconciler.clock import stamp
from reconciler.model import StatusState
from reconciler.service import contact
from reconciler.service.access import Role
from reconciler.service.http.pages import send_page
from reconciler.service.http.problems import Problem
from reconciler.service.http.routing import Call, Route
from reconciler.service.refresh import refresh as log_in_again
from reconciler.service.refusals import Notes, Refusals
from reconciler.service.store import Store

_AGAIN_SECONDS: Final = 10


class _Heard(Notes):
    """What became of logins, by their credentials, to be stored when all are done."""

    def __init__(self) -> None:
        super().__init__(None)
        self.accepted: set[str] = set()
        self.refused: set[str] = set()

    def add(self, credential: str) -> None:
        self.refused.add(credential)

    def forget(self, credential: str) -> None:
        self.accepted.add(credential)


async def refresh(call: Call) -> web.StreamResponse:
    """All gateways with the statuses that a contact found now; one refresh of a tenant at a time.

    However often it is asked for, one user and password is refused three times at most.
    """
    running = call.site.refreshing
    if call.tenant in running:
        raise Problem(
            429,
            "too-many-requests",
            "the gateways are being refreshed already",
            f"ask again in {_AGAIN_SECONDS} seconds",
            headers={"Retry-After": str(_AGAIN_SECONDS)},
        )
    running.add(call.tenant)
    try:
        return await _refreshed(call)
    finally:
        running.discard(call.tenant)


async def _refreshed(call: Call) -> web.StreamResponse:
    service, heard = call.service, _Heard()
    logins = await service.ask(lambda connection: _logins(call, connection))
    found = await log_in_again(logins, heard, service.clock, service.settings.sessions)
    await service.write(lambda connection: _store(call, connection, logins, heard))
    encoded = [call.site.encoder.encoded(actual) for actual in found]
    return await send_page(call, encoded, len(encoded), None)


def _logins(call: Call, connection: sqlite3.Connection) -> Sequence[contact.Login]:
    store = Store(connection, call.tenant)
    refusals = Refusals(store, Notes(None))
    return [
        contact.prepare(refusals, call.service.vault, actual)
        if actual.status.state is not StatusState.DISCONNECTED
        else contact.Login(actual)
        for actual in store.snapshot()
    ]


def _store(
    call: Call, connection: sqlite3.Connection, logins: Sequence[contact.Login], heard: _Heard
) -> None:
    refusals = Refusals(Store(connection, call.tenant), Notes(None))
    now = stamp(call.service.clock())
    names = {login.credential: login.actual.gateway.name for login in logins if login.credential}
    for credential in sorted(heard.refused):
        refusals.add(credential, names[credential], now)
    for credential in sorted(heard.accepted - heard.refused):
        refusals.forget(credential)


ROUTES: Final = (Route("POST", "/v1/refresh", refresh, Role.OPERATE),)
