"""The two console buttons, Rebuild and Disconnect: exact names, no question asked."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.cli.common import Settings, choose_target, notice, open_project, wait_for
from reconciler.cli.planning import nearest
from reconciler.cli.streams import tell
from reconciler.errors import ExitCode, GatewaysError, WrongUsage, gravest
from reconciler.model import Action, ActualGateway, StatusState
from reconciler.report.safe import json_text, line

if TYPE_CHECKING:
    from reconciler.platforms import Platform, Write


@dataclass(frozen=True, slots=True)
class Button:
    """`press` acts on one gateway; `refuse` says why it must not, or nothing."""

    action: Action
    press: "Callable[[Platform, ActualGateway, Write], Awaitable[ActualGateway]]"
    refuse: Callable[[ActualGateway], str]


def press(settings: Settings, names: tuple[str, ...], button: Button) -> int:
    """Press it for each name, one after the other; one failure does not stop the others.

    As JSON: the gateways that were touched, as `status` shows them, once all is done.
    """
    return wait_for(_press(settings, names, button))


async def _press(settings: Settings, names: tuple[str, ...], button: Button) -> ExitCode:
    from reconciler.cli.actor import current_actor
    from reconciler.git import commit_of
    from reconciler.platforms import Write, is_by_hand, open_platform
    from reconciler.report.status import status_data

    project = open_project(settings)
    target = choose_target(project, settings)
    platform = open_platform(target, project.root)
    actor = current_actor(commit_of(project.root, (target.declarations,)))
    codes, touched = [], []
    try:
        known = {one.gateway.name: one for one in (await platform.read()).gateways}
        for name in names:
            if name not in known:
                raise WrongUsage(f"there is no gateway {name!r}", nearest(name, list(known)))
        if is_by_hand(target):
            from reconciler.cli.buttons_by_hand import Pressed

            pressed = Pressed(settings, project.root, target, actor, button)
            return await pressed.each([known[name] for name in dict.fromkeys(names)])
        for name in dict.fromkeys(names):
            actual = known[name]
            write = Write(actor, f"{actor.run}:{name}", actual.revision)
            after = await _one(settings, button, platform, actual, write)
            if isinstance(after, ExitCode):
                codes.append(after)
            else:
                codes.append(_told(settings, after))
                touched.append(after)
    finally:
        await platform.close()
    if settings.json:
        tell(json_text(status_data(touched, target.owner)) + "\n")
    return gravest(codes)


async def _one(
    settings: Settings, button: Button, platform: "Platform", actual: ActualGateway, write: "Write"
) -> ActualGateway | ExitCode:
    """The gateway after the press, or the exit code that stands for why it was not pressed."""
    name = actual.gateway.name
    refused = button.refuse(actual)
    if refused:
        notice(settings, f"{name}: blocked: {refused}", "error")
        return ExitCode.BLOCKED
    try:
        return await button.press(platform, actual, write)
    except GatewaysError as error:
        notice(settings, f"{name}: failed: {line(error.message)}", "error")
        if error.hint:
            notice(settings, f"  hint: {line(error.hint)}", "error")
        return error.exit_code


def _told(settings: Settings, after: ActualGateway) -> ExitCode:
    """Say what became of one gateway; the exit code that it ends with."""
    name, state, failure = after.gateway.name, after.status.state, after.status.failure
    style = settings.style()
    if failure:
        blame = f" ({failure.kind}, field {failure.field})" if failure.field else ""
        _line(settings, f"{name}: {style.bad(state)}{blame}: {line(failure.message)}")
        if failure.hint:
            notice(settings, f"  hint: {line(failure.hint)}", "error")
        return ExitCode.CONNECTION
    good = state in {StatusState.SUCCEEDED, StatusState.DISCONNECTED}
    _line(settings, f"{name}: {(style.good if good else style.caution)(state)}")
    return ExitCode.DONE


def _line(settings: Settings, text: str) -> None:
    if not settings.json:
        tell(text + "\n")
