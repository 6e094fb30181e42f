"""gateways adopt."""

from dataclasses import replace

import click

from reconciler.cli.apply import Job, carry_through, refuse_unasked
from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
)
from reconciler.cli.planning import Governed


@click.command("adopt")
@click.argument("names", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, names: tuple[str, ...], *, yes: bool) -> int:
    """Take over gateways that others made, or that were made by hand.

    Declare each of them first. The plan shows what its declaration would change; once adopted it
    carries your owner, and plan and apply treat it as one of yours.
    """
    from reconciler.engine.apply import Options

    project = open_project(settings)
    ruled = Governed(choose_target(project, settings))
    refuse_unasked(ask=not yes)
    job = Job(
        replace(settings, only=names),
        project,
        ruled,
        ruled.target.limits,
        Options(),
        adopting=frozenset(names),
    )
    return carry_through(job, None, ask=not yes)
