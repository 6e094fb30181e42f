"""gateways check."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    wait_for,
)
from reconciler.cli.planning import choose, stated_by
from reconciler.cli.streams import result
from reconciler.errors import ExitCode
from reconciler.model import DesiredGateway, Ladder, Rung, RungState, State

PARALLEL = 8


@click.command("check")
@click.argument("names", nargs=-1)
@click.option("--no-login", is_flag=True, help="Stop before the login; no password is needed.")
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, names: tuple[str, ...], *, no_login: bool) -> int:
    """Try the declared settings on the real mail servers, and say which field is to blame.

    Each gateway climbs a ladder: DNS, TCP, TLS chain and name, certificate expiry, capabilities,
    login. Nothing is stored and no mail is touched. Each credential is tried at most once in a
    run, so that no mailbox is locked by a wrong password. What is seen is seen from this machine.

    \b
    Examples:
      gateways check
      gateways check support-in --format json
    """
    from reconciler.report.ladder import ladders_data, ladders_text

    project = open_project(settings)
    target = choose_target(project, settings)
    stated = stated_by(project, target, settings, key_needed=not no_login)
    known = {one.gateway.name: one for one in stated.desired.gateways}
    chosen = [
        one
        for one in choose(known, names, settings, target)
        if names or one.gateway.state is State.CONNECTED
    ]
    ladders = wait_for(_climb(chosen, login=not no_login))
    if settings.json:
        result(json.dumps(ladders_data(ladders), indent=2) + "\n")
    else:
        result(ladders_text(ladders, settings.style()))
    failed = any(not ladder.reached_the_top for ladder in ladders)
    return ExitCode.CONNECTION if failed else ExitCode.DONE


async def _climb(chosen: Sequence[DesiredGateway], *, login: bool) -> list[Ladder]:
    """All ladders, by name; gateways that share a credential climb one after the other."""
    groups: dict[tuple[str, str | None, str | None], list[DesiredGateway]] = {}
    for one in chosen:
        value = one.password.reveal() if one.password else None
        groups.setdefault((one.gateway.host, one.gateway.user_id, value), []).append(one)
    free = asyncio.Semaphore(PARALLEL)

    async def climb_group(group: Sequence[DesiredGateway]) -> list[Ladder]:
        async with free:
            return await _climb_in_turn(group, login=login)

    climbed = await asyncio.gather(*(climb_group(group) for group in groups.values()))
    return sorted((one for group in climbed for one in group), key=lambda one: one.gateway)


async def _climb_in_turn(group: Sequence[DesiredGateway], *, login: bool) -> list[Ladder]:
    """The first that gets as far as the login tries the credential, for all of them."""
    from reconciler.clock import now
    from reconciler.service.ladder import climb

    ladders: list[Ladder] = []
    tried: Ladder | None = None
    for one in group:
        mine = login and tried is None
        ladder = await climb(one.gateway, one.password, login=mine, now=now())
        if tried and ladder.reached_the_top:
            ladder = _as_tried_by(tried, ladder)
        elif mine and ladder.rungs[-1].state in {RungState.OK, RungState.FAILED}:
            tried = ladder
        ladders.append(ladder)
    return ladders


def _as_tried_by(tried: Ladder, ladder: Ladder) -> Ladder:
    """The same credential was tried for another gateway: what was refused there is refused here."""
    *rungs, login = ladder.rungs
    if tried.failure:
        refused = replace(login, state=RungState.FAILED, detail=tried.failure.message)
        return replace(ladder, rungs=(*rungs, refused), failure=tried.failure)
    note = f"{tried.gateway} logs in with the same credential, and each is tried once a run"
    skipped: Rung = replace(login, detail=note)
    return replace(ladder, rungs=(*rungs, skipped))
