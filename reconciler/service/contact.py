"""One contact with a mail server: what it needs, making it, and storing what became of it."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from reconciler.clock import Clock, stamp
from reconciler.errors import RevisionMoved
from reconciler.model import (
    ActualGateway,
    Failure,
    FailureKind,
    Gateway,
    Secret,
    Status,
    StatusState,
)
from reconciler.service.refusals import MAX_REFUSALS, Refusals
from reconciler.service.sessions import SessionError, SessionSettings, session_for
from reconciler.service.vault import Binding, Vault

_CLOSE_SECONDS: Final = 2.0
_PAUSES: Final = (0.5, 2.0)
"""Seconds before the second and the third attempt at a server that says it is busy."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a contact needs. `credential` is None where nobody logs in.

    `instead` is why no contact is made at all; `refused` is how often this login was refused.
    """

    actual: ActualGateway
    password: Secret | None = None
    credential: str | None = None
    instead: Failure | None = None
    refused: int = 0


def prepare(refusals: Refusals, vault: Vault, actual: ActualGateway) -> Login:
    """Take the password out of the vault, and look whether it was refused too often.

    Raises:
        PlatformUnavailable: the password cannot be opened.

    """
    gateway, store = actual.gateway, refusals.store
    if not gateway.authentication_flag:
        return Login(actual)
    sealed = store.password(gateway.name)
    if sealed is None:
        return Login(actual, instead=_NO_PASSWORD)
    vault.unlock(store.key_check())
    password = vault.open(sealed, Binding(store.tenant, gateway.name, gateway.host))
    credential = vault.credential(gateway.host, gateway.user_id, password)
    refused = refusals.count(credential)
    instead = parked(gateway.name, refused) if refused >= MAX_REFUSALS else None
    return Login(actual, password, credential, instead, refused)


async def make(
    login: Login, seconds: float, settings: SessionSettings | None = None
) -> Failure | None:
    """Log in and out again; None if the session was opened, else why not.

    At most `seconds` for opening it. The session is not kept: it would end with the command, and
    until then take a file handle, and on most servers one of ten places of that user.
    """
    if login.instead:
        return login.instead
    try:
        async with asyncio.timeout(seconds):
            return await _attempts(login.actual.gateway, login.password, settings)
    except TimeoutError:
        return timed_out(seconds)


def timed_out(seconds: float) -> Failure:
    """Whoever waited for a contact has waited long enough."""
    return Failure(
        FailureKind.TIMEOUT,
        "host",
        f"not connected within {seconds:g} seconds",
        "try again later, or allow more time with --timeout",
    )


async def _attempts(
    gateway: Gateway, password: Secret | None, settings: SessionSettings | None
) -> Failure | None:
    failure = await _attempt(gateway, password, settings)
    for pause in _PAUSES:
        if failure is None or failure.kind is not FailureKind.BUSY:
            break
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
        failure = await _attempt(gateway, password, settings)
    return failure


async def _attempt(
    gateway: Gateway, password: Secret | None, settings: SessionSettings | None
) -> Failure | None:
    session = session_for(gateway, password, settings)
    try:
        await session.open()
    except SessionError as error:
        return error.failure
    finally:
        # the answer is known; how the server takes the goodbye changes nothing
        with suppress(SessionError, TimeoutError, OSError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await session.close()
    return None


def found(before: Status, failure: Failure | None, now: str) -> Status:
    """The status after a contact; `since` stays where nothing changed."""
    state = StatusState.FAILED if failure else StatusState.SUCCEEDED
    same = before.state is state and before.failure == failure
    return replace(
        before,
        state=state,
        since=before.since if same else now,
        checked_at=now,
        failure=failure,
        cause=None,
    )


def record(
    refusals: Refusals, login: Login, failure: Failure | None, clock: Clock
) -> ActualGateway:
    """Store what became of a contact, unless the gateway was changed meanwhile.

    Raises:
        RevisionMoved: the gateway is no longer on the platform.

    """
    gateway, now, store = login.actual.gateway, stamp(clock()), refusals.store
    if login.credential and not login.instead:
        if failure is None:
            refusals.forget(login.credential)
        elif failure.kind is FailureKind.AUTH:
            refusals.add(login.credential, gateway.name, now)
    status = found(login.actual.status, failure, now)
    if store.record_status(gateway.name, login.actual.revision, status):
        return replace(login.actual, status=status)
    stored = store.find(gateway.name)
    if stored is None:
        raise RevisionMoved(f"gateway {gateway.name!r} is not on the platform", "make a new plan")
    return stored


_NO_PASSWORD: Final = Failure(
    FailureKind.AUTH,
    "user_password",
    "no password is stored",
    "declare user_password, then apply",
)


def parked(name: str, refused: int) -> Failure:
    """Why a login is not tried: it was refused so often."""
    return Failure(
        FailureKind.AUTH,
        "user_password",
        f"the server refused this user and password {refused} times, so they are not tried again",
        "correct user_id or user_password and apply; or, if the mail server was at fault, "
        f"gateways rebuild {name} --force",
    )
