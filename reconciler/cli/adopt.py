"""gateways adopt."""

from dataclasses import replace
from pathlib import Path

import click

from reconciler.cli.apply import carry_through
from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    say,
)
from reconciler.cli.job import Job, refuse_unadoptable, refuse_unasked
from reconciler.cli.manner import Manner, manner_options
from reconciler.cli.planning import Governed, planned_by, render, stated_by, verdict
from reconciler.cli.streams import result
from reconciler.errors import WrongUsage


@click.command("adopt")
@click.argument("names", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Take over nothing yet: save the plan to this file, for gateways apply FILE.",
)
@manner_options
@global_options(("text", "json"))
@pass_settings
def command(  # noqa: PLR0913 - one parameter an option
    settings: Settings,
    names: tuple[str, ...],
    *,
    yes: bool,
    out: Path | None,
    done: tuple[str, ...],
    shows: str | None,
    checklist: Path | None,
) -> int:
    """Take over gateways that others made, or that were made by hand.

    Declare each of them first; gateways dump --all writes the declarations. The plan shows what
    they would change; once adopted a gateway carries your owner, and plan and apply treat it as
    one of yours.

    \b
    Examples:
      gateways adopt sales-in sales-out
      gateways adopt sales-in --out plan.json    # to be reviewed, then: gateways apply plan.json
      gateways adopt salesin -t aicc --done salesin
    """
    from reconciler.cli.by_hand import carry_through as carry_through_by_hand
    from reconciler.engine import planfile
    from reconciler.engine.apply import Options
    from reconciler.files import write_text
    from reconciler.platforms import is_by_hand

    if str(out) == "-":
        raise WrongUsage("--out names a file", "to standard output: --format json")
    manner = Manner(done, shows, checklist)
    if out and (done or shows or checklist):
        raise WrongUsage(
            "--out takes over nothing yet: give it alone",
            "what it saves is gone through with: gateways apply FILE",
        )

    project = open_project(settings)
    ruled = Governed(choose_target(project, settings))
    by_hand = is_by_hand(ruled.target)
    ask = not yes and not by_hand
    if out is None:
        refuse_unasked(ask=ask)
    job = Job(
        replace(settings, only=names),
        project,
        ruled,
        ruled.target.limits,
        Options(),
        adopting=frozenset(names),
    )
    if out is None and by_hand:
        return carry_through_by_hand(job, None, manner)
    if out is None:
        manner.refuse_elsewhere(job.target.platform)
        return carry_through(job, None, ask=ask)
    stated = stated_by(project, job.target, job.settings, key_needed=False)
    plan = planned_by(project, job.target, stated, job.wish(), job.settings).plan
    refuse_unadoptable(plan, job.adopting)
    write_text(out, planfile.to_text(plan))
    say(settings, f"saved: {out}")
    result(render(plan, settings))
    return verdict(plan, detailed=False)
