"""Many ladders at once: each credential is tried once a run, so that no mailbox is locked."""

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from reconciler.clock import now
from reconciler.model import Gateway, Ladder, Rung, RungState, Secret
from reconciler.service.ladder import RUNGS, climb
from reconciler.service.sessions import SessionSettings
from reconciler.service.sessions.addresses import MAIL_PORTS, Address, is_public, resolve
from reconciler.service.sessions.base import Phase

PARALLEL: Final = 8


@dataclass(frozen=True, slots=True)
class Ascent:
    """A gateway's fields, and up to which rung they are tried."""

    gateway: Gateway
    password: Secret | None = None
    up_to: Phase = Phase.LOGIN


class _NotTriedError(Exception):
    """The host is one that is not tried from here; the text says why."""


async def climb_each(
    ascents: Sequence[Ascent],
    *,
    private_hosts: bool = True,
    climbed: Callable[[Ladder], None] = lambda _: None,
) -> list[Ladder]:
    """All ladders, by name; gateways that share a credential climb one after the other.

    With `private_hosts` False a gateway whose host has a private address, or whose port mail
    servers do not use, is not tried: all its rungs are skipped and say so. `climbed` hears of each
    ladder as it is done.
    """
    groups: dict[tuple[str | None, ...], list[Ascent]] = {}
    for one in ascents:
        groups.setdefault(_credential(one), []).append(one)
    free = asyncio.Semaphore(PARALLEL)

    async def climb_group(group: Sequence[Ascent]) -> list[Ladder]:
        async with free:
            return await _climb_in_turn(group, climbed, private_hosts=private_hosts)

    found = await asyncio.gather(*(climb_group(group) for group in groups.values()))
    return sorted((one for group in found for one in group), key=lambda one: one.gateway)


def _credential(one: Ascent) -> tuple[str | None, ...]:
    """What must not be tried twice; who tries none is on his own."""
    if one.up_to is not Phase.LOGIN:
        return (one.gateway.name,)
    value = one.password.reveal() if one.password else None
    return one.gateway.host, one.gateway.user_id, value


async def _climb_in_turn(
    group: Sequence[Ascent], climbed: Callable[[Ladder], None], *, private_hosts: bool
) -> list[Ladder]:
    """The first that gets as far as the login tries the credential, for all of them."""
    ladders: list[Ladder] = []
    tried: Ladder | None = None
    for one in group:
        mine = one if tried is None else replace(one, up_to=Phase.CAPABILITIES)
        ladder = await _climb(mine, private_hosts=private_hosts)
        if tried and ladder.reached_the_top:
            ladder = _as_tried_by(tried, ladder)
        elif tried is None and ladder.rungs[-1].state in {RungState.OK, RungState.FAILED}:
            tried = ladder
        ladders.append(ladder)
        climbed(ladder)
    return ladders


async def _climb(one: Ascent, *, private_hosts: bool) -> Ladder:
    gateway = one.gateway
    if not private_hosts and gateway.port not in MAIL_PORTS:
        return _not_tried(gateway, f"port {gateway.port} is not one that mail servers use")
    settings = SessionSettings(
        private_hosts=private_hosts, resolve=None if private_hosts else _public
    )
    try:
        return await climb(gateway, one.password, up_to=one.up_to, now=now(), settings=settings)
    except _NotTriedError as reason:
        return _not_tried(gateway, str(reason))


def _not_tried(gateway: Gateway, reason: str) -> Ladder:
    text = f"not tried from here: {reason}"
    return Ladder(gateway.name, tuple(Rung(str(one), RungState.SKIPPED, text) for one in RUNGS))


async def _public(host: str, port: int) -> tuple[Address, ...]:
    """The addresses of a host, if all of them are public; the session judges them once more."""
    found = await resolve(host, port)
    if all(is_public(ipaddress.ip_address(str(address[0]))) for _, address in found):
        return found
    raise _NotTriedError("the host has a loopback, private or link-local address")


def _as_tried_by(tried: Ladder, ladder: Ladder) -> Ladder:
    """The same credential was tried for another gateway: what was refused there is refused here."""
    *rungs, login = ladder.rungs
    if tried.failure:
        # the words are of the other's server, which may be on another port
        message = (
            f"as {tried.gateway}, which logs in with the same credential: {tried.failure.message}"
        )
        refused = replace(login, state=RungState.FAILED, detail=message)
        failure = replace(tried.failure, message=message)
        return replace(ladder, rungs=(*rungs, refused), failure=failure)
    note = f"{tried.gateway} logs in with the same credential, and each is tried once a run"
    skipped = replace(login, detail=note)
    return replace(ladder, rungs=(*rungs, skipped))
