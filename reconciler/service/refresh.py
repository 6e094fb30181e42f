"""Logging in again to see which sessions work now. Nothing of it is stored on the platform.

A look must not lock an account. A credential that was refused at the last contact is left to
rebuild; one that is refused now is not tried again in the same run; and each refusal is noted, so
that many runs do not add up.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler.clock import Clock, stamp
from reconciler.model import ActualGateway, Failure, FailureKind, StatusState
from reconciler.service import contact
from reconciler.service.refusals import Notes
from reconciler.service.sessions import SessionSettings

SECONDS: Final = 60.0
AT_ONCE: Final = 8


async def refresh(
    logins: Sequence[contact.Login],
    notes: Notes,
    clock: Clock,
    settings: SessionSettings | None = None,
) -> tuple[ActualGateway, ...]:
    """The gateways in the same order, with the status that a contact found now.

    One that is disconnected, or whose credential was refused at a last contact, keeps the status
    that it has.
    """
    places = asyncio.Semaphore(AT_ONCE)
    seen = {login.actual.gateway.name: login.actual for login in logins}

    async def visit(group: Sequence[contact.Login]) -> None:
        async with places:
            for actual in await _visit(group, notes, clock, settings):
                seen[actual.gateway.name] = actual

    await asyncio.gather(*(visit(group) for group in _worth_a_visit(logins)))
    return tuple(seen.values())


def _worth_a_visit(logins: Sequence[contact.Login]) -> list[list[contact.Login]]:
    """Those to visit, by credential; who needs no login stands alone."""
    refused = {login.credential for login in logins if _was_refused(login)} - {None}
    groups: defaultdict[tuple[str | None, str], list[contact.Login]] = defaultdict(list)
    for login in logins:
        disconnected = login.actual.status.state is StatusState.DISCONNECTED
        if disconnected or _was_refused(login) or login.credential in refused:
            continue
        alone = "" if login.credential else login.actual.gateway.name
        groups[login.credential, alone].append(login)
    return list(groups.values())


def _was_refused(login: contact.Login) -> bool:
    failure = login.actual.status.failure
    return failure is not None and failure.kind is FailureKind.AUTH


async def _visit(
    group: Sequence[contact.Login], notes: Notes, clock: Clock, settings: SessionSettings | None
) -> list[ActualGateway]:
    """One contact after the other; gateways with the very same connection share one.

    A refusal is one of all: the password is wrong. A success proves only its own connection.
    """
    found: dict[tuple[Any, ...], Failure | None] = {}
    refused: Failure | None = None
    seen = []
    for login in group:
        gateway = login.actual.gateway
        way = (gateway.protocol_type, gateway.port, gateway.encryption_mode, gateway.certificate)
        if way not in found and refused is None:
            found[way] = await contact.make(login, SECONDS, settings)
            if login.credential and not login.instead:
                refused = _noted(notes, login.credential, gateway.name, found[way])
        failure = found.get(way, refused)
        status = contact.found(login.actual.status, failure, stamp(clock()))
        seen.append(replace(login.actual, status=status))
    return seen


def _noted(notes: Notes, credential: str, name: str, failure: Failure | None) -> Failure | None:
    """What a contact's end means for the other gateways of the credential: None if nothing."""
    if failure is None:
        notes.forget(credential)
    elif failure.kind is FailureKind.AUTH:
        notes.add(credential)
        return replace(
            failure, message=f"not tried: gateway {name!r} was refused with this user and password"
        )
    return None
