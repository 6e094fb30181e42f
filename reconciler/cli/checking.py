"""Trying the connections that a plan would make, before anybody applies it."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from reconciler.cli.common import Settings, explain, say, wait_for
from reconciler.model import DesiredGateway, Ladder, Plan, Target

if TYPE_CHECKING:
    from reconciler.pipeline import Planned
    from reconciler.service.ladders import Ascent

PATIENCE: Final = 5.0
"""Seconds after which it is said what is still being tried, and again after as many."""


def checked_by(made: "Planned", target: Target, rung: str, settings: Settings) -> Plan:
    """The plan with a check on each change that makes a connection, tried up to `rung`.

    A password is tried on hosts of the target's check_logins only.
    """
    from reconciler.engine import checks, planfile

    plan = made.plan
    wanted = [
        made.desired[change.gateway]
        for change in plan.planned
        if change.gateway in made.desired
        and checks.connects(change, made.desired[change.gateway].gateway)
    ]
    notes = {one.gateway.name: _no_login(one, target) for one in wanted if rung == "login"}
    ascents = [_ascent(one, rung, notes.get(one.gateway.name, "")) for one in wanted]
    explain(settings, f"check: {len(ascents)} connections up to {rung}")
    # as the service at an http target does not: what is tried here is what a declaration says
    private = target.platform == "embedded"
    ladders = wait_for(_climb(ascents, settings, private_hosts=private))
    found = {
        one.gateway: checks.check_of(
            one, made.actual.get(one.gateway), notes.get(one.gateway, "") or _left_out(one, rung)
        )
        for one in ladders
    }
    return planfile.sealed(checks.checked(plan, found))


def _no_login(one: DesiredGateway, target: Target) -> str:
    """Why the login of a gateway is not tried; empty where it is."""
    host = one.gateway.host
    if not one.gateway.authentication_flag:
        return ""  # there is nothing secret to send
    if not any(fnmatchcase(host, glob.lower()) for glob in target.check_logins):
        return f"no login: host {host} is not among the target's check_logins"
    return "" if one.password_known else "no login: there is no key at hand for the password"


def _ascent(one: DesiredGateway, rung: str, no_login: str) -> "Ascent":
    from reconciler.service.ladders import Ascent
    from reconciler.service.sessions.base import Phase

    up_to = Phase.CAPABILITIES if no_login else Phase(rung)
    ascent = Ascent(one.gateway, up_to=up_to)
    return replace(ascent, password=one.password) if up_to is Phase.LOGIN else ascent


def _left_out(ladder: Ladder, rung: str) -> str:
    """Why a login that was allowed was not made, such as one that another gateway has tried."""
    login = ladder.rungs[-1]
    wanted = rung == "login" and not ladder.failure and login.state == "skipped"
    return login.detail if wanted else ""


async def _climb(
    ascents: Sequence["Ascent"], settings: Settings, *, private_hosts: bool
) -> list[Ladder]:
    from reconciler.service.ladders import climb_each

    left = {one.gateway.name for one in ascents}
    teller = asyncio.create_task(_tell(left, settings))
    try:
        return await climb_each(
            ascents,
            private_hosts=private_hosts,
            climbed=lambda ladder: left.discard(ladder.gateway),
        )
    finally:
        teller.cancel()


async def _tell(left: Collection[str], settings: Settings) -> None:
    while True:
        await asyncio.sleep(PATIENCE)
        say(settings, f"still trying {_some(sorted(left))}")


def _some(names: Sequence[str]) -> str:
    few = 3
    more = f" and {len(names) - few} more" if len(names) > few else ""
    return ", ".join(names[:few]) + more
