"""gateways drift."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    say,
    wait_for,
)
from reconciler.cli.planning import nearest, refuse_no_match, stated_by
from reconciler.cli.streams import result
from reconciler.errors import ExitCode, WrongUsage
from reconciler.model import Happening, Target
from reconciler.report.safe import json_text

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.declarations.project import Project
    from reconciler.engine.drift import Ours, Sides
    from reconciler.pipeline import Stated

History = Mapping[str, tuple[Happening, ...]]


@click.command("drift")
@click.argument("names", nargs=-1)
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, names: tuple[str, ...]) -> int:
    """Show what the platform has that the declarations do not explain, and who did it.

    That is: fields that somebody wrote past the commits of this history, gateways of ours that
    nobody declares, those that others took over, and those that were disconnected by hand. What a
    commit of this history is yet to change is no drift: gateways plan shows it. A connection that
    failed is not either: gateways status shows it.

    Ends with 2 where there is drift, and with 0 where there is none. No key is needed; with one,
    passwords are compared too.

    \b
    Examples:
      gateways drift
      gateways drift -t production --format json
      gateways drift support-out -l env=production
    """
    from reconciler.engine.drift import explain
    from reconciler.platforms import is_by_hand
    from reconciler.report.drift import Drifted, DriftReport, drift_data, drift_text

    project = open_project(settings)
    target = choose_target(project, settings)
    stated = stated_by(project, target, settings, key_needed=False)
    sides, history = wait_for(_read(project, target, stated, settings, names))
    ours, known = _judge(project.root, target, history)
    if not known:
        say(settings, "note: git tells no history here, so what others applied is taken for ours")
    found = explain(sides, history, ours)
    drift = tuple(
        Drifted(
            one.gateway,
            one.kind.value,
            one.reason,
            one.revision,
            one.fields,
            one.by,
            explained=one.by is not None and ours(one.by),
        )
        for one in found.drift
    )
    report = DriftReport(
        target.name,
        target.platform,
        drift,
        found.on_the_way,
        found.as_declared,
        secrets_compared=stated.desired.secrets_compared,
        history_known=known,
    )
    if settings.json:
        result(json_text(drift_data(report)) + "\n")
    else:
        result(drift_text(report, settings.style()))
    if is_by_hand(target):
        say(
            settings,
            f"note: compared with {target.record}; what somebody typed into the console and told "
            "nobody is not seen",
        )
    return ExitCode.CHANGES if drift else ExitCode.DONE


async def _read(
    project: "Project",
    target: Target,
    stated: "Stated",
    settings: Settings,
    names: tuple[str, ...],
) -> tuple["Sides", History]:
    """Both sides of what was asked for, and the history of those that differ."""
    from reconciler.engine.drift import Sides, differing
    from reconciler.engine.select import select
    from reconciler.platforms import open_readable

    platform = open_readable(target, project.root)
    try:
        snapshot = await platform.read()
        known = {one.gateway.name for one in snapshot.gateways}
        known |= {one.gateway.name for one in stated.desired.gateways}
        for name in names:
            if name not in known:
                raise WrongUsage(f"there is no gateway {name!r}", nearest(name, known))
        chosen = select(
            stated.desired.gateways,
            stated.outside,
            snapshot,
            settings.selection(target),
            owner=target.owner,
        )
        if not chosen.desired and not chosen.actual:
            refuse_no_match(settings)
        asked = frozenset(names) or known
        sides = Sides(
            {one.gateway.name: one for one in chosen.desired if one.gateway.name in asked},
            {name: one for name, one in chosen.actual.items() if name in asked},
            target.owner,
        )
        return sides, await platform.history(differing(sides))
    finally:
        await platform.close()


def _judge(root: "Path", target: Target, history: History) -> tuple["Ours", bool]:
    """Whether a happening came from a commit that led to this one; without git, each did."""
    from reconciler.git import commit_of, in_history

    here = commit_of(root, (target.declarations, "gateways.yaml"))
    if here is None or here.commit is None:
        return lambda _: True, False
    commits = {one.commit for told in history.values() for one in told if one.commit}
    ours = in_history(root, commits)
    return lambda one: one.commit in ours, True
