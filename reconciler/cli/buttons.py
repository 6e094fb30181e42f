"""The two console buttons, Rebuild and Disconnect: exact names, no question asked."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import Settings, choose_target, open_project, wait_for
from reconciler.cli.planning import nearest
from reconciler.errors import ExitCode, GatewaysError, WrongUsage, gravest
from reconciler.model import ActualGateway, StatusState
from reconciler.report.safe import line

if TYPE_CHECKING:
    from reconciler.platforms import Platform, Write


@dataclass(frozen=True, slots=True)
class Button:
    """`press` acts on one gateway; `refuse` says why it must not, or nothing."""

    press: "Callable[[Platform, ActualGateway, Write], Awaitable[ActualGateway]]"
    refuse: Callable[[ActualGateway], str]


def press(settings: Settings, names: tuple[str, ...], button: Button) -> int:
    """Press it for each name, one after the other; one failure does not stop the others."""
    return wait_for(_press(settings, names, button))


async def _press(settings: Settings, names: tuple[str, ...], button: Button) -> ExitCode:
    from reconciler.cli.actor import current_actor
    from reconciler.git import commit_of
    from reconciler.platforms import Write, open_platform

    project = open_project(settings)
    target = choose_target(project, settings)
    platform = open_platform(target, project.root)
    actor = current_actor(commit_of(project.root, (target.declarations,)))
    codes = []
    try:
        known = {one.gateway.name: one for one in (await platform.read()).gateways}
        for name in names:
            if name not in known:
                raise WrongUsage(f"there is no gateway {name!r}", nearest(name, list(known)))
        for name in names:
            actual = known[name]
            write = Write(actor, f"{actor.run}:{name}", actual.revision)
            codes.append(await _one(settings, button, platform, actual, write))
    finally:
        await platform.close()
    return gravest(codes)


async def _one(
    settings: Settings, button: Button, platform: "Platform", actual: ActualGateway, write: "Write"
) -> ExitCode:
    name = actual.gateway.name
    refused = button.refuse(actual)
    if refused:
        click.echo(f"{name}: blocked: {refused}", err=True)
        return ExitCode.BLOCKED
    try:
        after = await button.press(platform, actual, write)
    except GatewaysError as error:
        click.echo(f"{name}: failed: {line(error.message)}", err=True)
        return error.exit_code
    style = settings.style()
    failure = after.status.failure
    if failure:
        blame = f" ({failure.kind}, field {failure.field})" if failure.field else ""
        click.echo(f"{name}: {style.bad(after.status.state)}{blame}: {line(failure.message)}")
        if failure.hint:
            click.echo(f"  hint: {line(failure.hint)}", err=True)
        return ExitCode.CONNECTION
    good = after.status.state in {StatusState.SUCCEEDED, StatusState.DISCONNECTED}
    click.echo(f"{name}: {(style.good if good else style.caution)(after.status.state)}")
    return ExitCode.DONE
