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
    result,
    wait_for,
)
from reconciler.cli.planning import nearest
from reconciler.errors import ExitCode, WrongUsage
from reconciler.model import DesiredGateway, Ladder, State, Target

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
    from reconciler.clock import now
    from reconciler.pipeline import desired_gateways
    from reconciler.report.ladder import ladders_data, ladders_text

    project = open_project(settings)
    target = choose_target(project, settings)
    stated = desired_gateways(project, target, now(), key_needed=not no_login)
    chosen = _chosen(stated.desired.gateways, names, settings, target)
    ladders = wait_for(_climb(chosen, login=not no_login))
    if settings.json:
        result(json.dumps(ladders_data(ladders), indent=2) + "\n")
    else:
        result(ladders_text(ladders, settings.style()))
    failed = any(not ladder.reached_the_top for ladder in ladders)
    return ExitCode.CONNECTION if failed else ExitCode.DONE


def _chosen(
    desired: Sequence[DesiredGateway], names: tuple[str, ...], settings: Settings, target: Target
) -> list[DesiredGateway]:
    from reconciler.engine.select import matches

    known = {one.gateway.name: one for one in desired}
    for name in names:
        if name not in known:
            raise WrongUsage(f"there is no gateway {name!r}", nearest(name, list(known)))
    selection = settings.selection(target)
    return [
        one
        for name, one in known.items()
        if (name in names if names else one.gateway.state is State.CONNECTED)
        and matches(one.gateway, selection)
    ]


async def _climb(chosen: Sequence[DesiredGateway], *, login: bool) -> list[Ladder]:
    """All ladders, in order; a credential that another gateway tries is not tried again."""
    from reconciler.clock import now
    from reconciler.service.ladder import climb

    first = _first_with_each_credential(chosen)
    free = asyncio.Semaphore(PARALLEL)

    async def one(gateway: DesiredGateway) -> Ladder:
        async with free:
            name = gateway.gateway.name
            mine = first[name] == name
            ladder = await climb(gateway.gateway, gateway.password, login=login and mine, now=now())
            return ladder if mine or not login else _tried_by(ladder, first[name])

    return list(await asyncio.gather(*(one(gateway) for gateway in chosen)))


def _first_with_each_credential(chosen: Sequence[DesiredGateway]) -> dict[str, str]:
    """For each gateway, the one that tries its credential: itself or an earlier one."""
    first: dict[tuple[str, str | None, str | None], str] = {}
    found = {}
    for one in chosen:
        value = one.password.reveal() if one.password else None
        credential = (one.gateway.host, one.gateway.user_id, value)
        found[one.gateway.name] = first.setdefault(credential, one.gateway.name)
    return found


def _tried_by(ladder: Ladder, other: str) -> Ladder:
    *rungs, login = ladder.rungs
    note = f"{other} tries the same credential, and each is tried once a run"
    return replace(ladder, rungs=(*rungs, replace(login, detail=note)))
