"""gateways apply."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    result,
    say,
    wait_for,
)
from reconciler.cli.planning import limits_of, refuse_no_match, render, verdict
from reconciler.cli.progress import Progress
from reconciler.cli.show import read_plan
from reconciler.cli.signals import stop_on_signals
from reconciler.errors import Blocked, ExitCode, WrongUsage
from reconciler.model import Limits, Outcome, Plan, Target

if TYPE_CHECKING:
    from reconciler.declarations.project import Project
    from reconciler.engine.apply import Options
    from reconciler.pipeline import Planned
    from reconciler.platforms import Platform, ReadablePlatform


@dataclass(frozen=True, slots=True)
class Job:
    settings: Settings
    project: "Project"
    target: Target
    limits: Limits
    options: "Options"
    budgets_given: bool = False
    lock_seconds: float = 0.0
    adopting: frozenset[str] = frozenset()


@click.command("apply")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--max-disconnects", type=click.IntRange(0), help="How many removals to allow.")
@click.option("--max-reconnects", type=click.IntRange(0), help="How many remade connections.")
@click.option("--no-wait", is_flag=True, help="Do not wait for gateways to connect.")
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that one gateway may take to connect.",
)
@click.option(
    "--lock-timeout",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Seconds to wait for another apply to end.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Changes at once; half of it on one mail host, but at least 4.",
)
@click.option(
    "--keep-going",
    is_flag=True,
    help="Go on even after 3 gateways that worked before no longer connect.",
)
@global_options(("text", "json"))
@pass_settings
def command(  # noqa: PLR0913 - one parameter an option
    settings: Settings,
    *,
    file: Path | None,
    yes: bool,
    max_disconnects: int | None,
    max_reconnects: int | None,
    no_wait: bool,
    seconds: float,
    lock_timeout: float,
    parallel: int,
    keep_going: bool,
) -> int:
    """Make the platform be as declared, and wait until every touched gateway has connected.

    Without FILE the plan is shown and you are asked. With FILE, a plan that `gateways plan --out`
    saved, only what was reviewed is done: if the declarations or the platform have changed since,
    nothing is.

    Ctrl-C starts no further change and lets those under way finish. Running apply again is always
    safe: it does what remains.

    \b
    Examples:
      gateways apply
      gateways apply plan.json
      gateways apply --yes --max-disconnects 1
    """
    from reconciler.engine.apply import Options

    project = open_project(settings)
    target = choose_target(project, settings)
    saved = _saved(file) if file else None
    ask = saved is None and not yes
    refuse_unasked(ask=ask)
    job = Job(
        settings,
        project,
        target,
        limits_of(target, max_disconnects, max_reconnects),
        Options(parallel, not no_wait, seconds, keep_going),
        budgets_given=max_disconnects is not None or max_reconnects is not None,
        lock_seconds=lock_timeout,
    )
    return wait_for(carry_through(job, saved, ask=ask))


def refuse_unasked(*, ask: bool) -> None:
    """Raise WrongUsage where a question is due and nobody is there to answer it."""
    if ask and not sys.stdin.isatty():
        raise WrongUsage(
            "this asks before it changes anything, and nobody can be asked here",
            "say --yes, or apply a reviewed plan: gateways apply plan.json",
        )


def _saved(file: Path) -> Plan:
    from reconciler.engine.planfile import from_text

    return from_text(read_plan(file), file.name)


async def carry_through(job: Job, saved: Plan | None, *, ask: bool) -> ExitCode:
    """Plan and show it unless a saved plan is given, ask where that is due, and apply."""
    from reconciler.platforms import open_platform, open_readable

    if saved is None:
        reader = open_readable(job.target, job.project.root)
        try:
            made = await _plan(job, reader)
        finally:
            await reader.close()
        refuse_no_match(made, job.settings)
        saved = made.plan
        _show(saved, job.settings)
    _refuse_blocked(saved)
    if not saved.planned and not job.budgets_given:
        return _nothing_to_do(job, saved)
    if ask:
        click.confirm("Apply this plan?", abort=True, err=True)
    platform = open_platform(job.target, job.project.root)
    try:
        return await _carry_out(job, saved, platform)
    finally:
        await platform.close()


def _show(plan: Plan, settings: Settings) -> None:
    if not settings.json:
        result(render(plan, settings))


def _refuse_blocked(plan: Plan) -> None:
    if not plan.applicable:
        raise Blocked("the plan is blocked: " + "; ".join(plan.blocked or ("it is incomplete",)))


def _nothing_to_do(job: Job, plan: Plan) -> ExitCode:
    progress = Progress(job.settings)
    progress.begin()
    progress.finished([])
    return verdict(plan, detailed=False)


async def _plan(job: Job, platform: "ReadablePlatform") -> "Planned":
    from reconciler.clock import now
    from reconciler.pipeline import Wish, make_plan

    wish = Wish(
        now(),
        job.settings.selection(job.target),
        job.limits,
        key_needed=True,
        adopting=job.adopting,
    )
    return await make_plan(job.project, job.target, platform, wish)


async def _carry_out(job: Job, saved: Plan, platform: "Platform") -> ExitCode:
    """Under the lock: read and plan again, go on only with what was reviewed."""
    from reconciler.cli.actor import current_actor
    from reconciler.engine.apply import Run, apply, exit_code
    from reconciler.engine.review import accept

    actor = current_actor(saved.git)
    outcomes: list[Outcome] = []
    progress = Progress(job.settings)
    progress.begin()
    async with platform.lock(actor, seconds=job.lock_seconds):
        progress.locked(actor)
        fresh = await _plan(job, platform)
        _refuse_blocked(fresh.plan)
        accept(saved, fresh.plan, budgets_given=job.budgets_given)
        run = Run(platform, fresh.desired, fresh.actual, actor, job.options)
        with stop_on_signals(run.stop, lambda text: say(job.settings, text)):
            async for event in apply(fresh.plan, run):
                progress.show(event)
                if isinstance(event, Outcome):
                    outcomes.append(event)
    progress.finished(outcomes)
    return exit_code(fresh.plan, outcomes, interrupted=run.stop.is_set())
