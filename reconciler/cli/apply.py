"""gateways apply."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import (
    NamesByOption,
    Seconds,
    Settings,
    choose_target,
    global_options,
    notice,
    open_project,
    pass_settings,
    say,
    wait_for,
)
from reconciler.cli.job import Job, refuse_unadoptable, refuse_unasked
from reconciler.cli.manner import Manner, manner_options
from reconciler.cli.planning import (
    POLICY_FROM,
    governed,
    limits_of,
    planned_by,
    refreshes,
    render,
    stated_by,
)
from reconciler.cli.progress import Progress
from reconciler.cli.show import read_plan
from reconciler.cli.signals import stop_on_signals
from reconciler.cli.streams import tell
from reconciler.errors import Blocked, ExitCode
from reconciler.model import Outcome, Plan

if TYPE_CHECKING:
    from reconciler.engine.apply import Run
    from reconciler.pipeline import Stated, Wish


@click.command("apply", cls=NamesByOption)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--max-disconnects", type=click.IntRange(0), help="How many removals to allow.")
@click.option("--max-reconnects", type=click.IntRange(0), help="How many remade connections.")
@click.option("--refresh", is_flag=True, help="Log in again to see which sessions work now.")
@click.option("--no-wait", is_flag=True, help="Do not wait for gateways to connect.")
@click.option(
    "--timeout",
    "seconds",
    type=Seconds(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that one gateway may take to connect.",
)
@click.option(
    "--lock-timeout",
    type=Seconds(0),
    default=0.0,
    show_default=True,
    help="Seconds to wait for another apply to end.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 256),
    help="Changes at once, on one mail host too.  [default: 8, and 4 on one mail host]",
)
@click.option(
    "--keep-going",
    is_flag=True,
    help="Go on even after 3 gateways that worked before no longer connect.",
)
@manner_options
@POLICY_FROM
@global_options(("text", "json"))
@pass_settings
def command(  # noqa: PLR0913 - one parameter an option
    settings: Settings,
    *,
    file: Path | None,
    yes: bool,
    max_disconnects: int | None,
    max_reconnects: int | None,
    refresh: bool,
    no_wait: bool,
    seconds: float,
    lock_timeout: float,
    parallel: int | None,
    keep_going: bool,
    done: tuple[str, ...],
    shows: str | None,
    checklist: Path | None,
    policy_from: str | None,
) -> int:
    """Make the platform be as declared, and wait until every touched gateway has connected.

    Without FILE the plan is shown and you are asked. With FILE, a plan that `gateways plan --out`
    saved, only what was reviewed is done: if the declarations or the platform have changed since,
    nothing is.

    Ctrl-C starts no further change and lets those under way finish; a second one leaves them.
    Running apply again is always safe: it does what remains.

    On platform runbook people do it: this walks through the steps on a terminal and notes each one;
    elsewhere it prints them as Markdown.

    \b
    Examples:
      gateways apply
      gateways apply plan.json
      gateways apply --yes --max-disconnects 1
      gateways apply -t aicc --checklist steps.html
      gateways apply -t aicc --done support-in --shows 'Connection succeeded'
    """
    from reconciler.cli.by_hand import carry_through as carry_through_by_hand
    from reconciler.engine.apply import Options
    from reconciler.platforms import is_by_hand

    project = open_project(settings)
    ruled = governed(project, choose_target(project, settings), policy_from)
    saved = _saved(file) if file else None
    by_hand = is_by_hand(ruled.target)
    ask = saved is None and not yes and not by_hand
    refuse_unasked(ask=ask)
    job = Job(
        settings,
        project,
        ruled,
        limits_of(ruled.target, max_disconnects, max_reconnects),
        replace(
            # a number that was asked for holds on one mail host too
            Options(parallel, parallel) if parallel else Options(),
            wait=not no_wait,
            seconds=seconds,
            keep_going=keep_going,
        ),
        budgets_given=max_disconnects is not None or max_reconnects is not None,
        lock_seconds=lock_timeout,
        refresh=refreshes(settings, ruled.target, asked=refresh),
    )
    manner = Manner(done, shows, checklist, file)
    if by_hand:
        return carry_through_by_hand(job, saved, manner)
    manner.refuse_elsewhere(ruled.target.platform)
    return carry_through(job, saved, ask=ask)


def _saved(file: Path) -> Plan:
    from reconciler.engine.planfile import from_text

    hint = f"FILE is what `gateways plan --out FILE` saved; for one gateway alone: --only {file}"
    return from_text(read_plan(file, hint), file.name)


def carry_through(job: Job, saved: Plan | None, *, ask: bool) -> ExitCode:
    """Plan and show it unless a saved plan is given, ask where that is due, and apply."""
    stated = stated_by(job.project, job.target, job.settings, key_needed=True)
    reviewed = saved
    if reviewed is None:
        reviewed = planned_by(job.project, job.target, stated, job.wish(), job.settings).plan
        refuse_unadoptable(reviewed, job.adopting)
        _show(reviewed, job.settings, ask=ask)
    if not reviewed.applicable:
        reasons = "; ".join(reviewed.blocked or ("it is incomplete",))
        raise Blocked(f"the plan is blocked: {reasons}")
    # asked outside of the event loop, where Ctrl-C would wait for an answer
    if ask and reviewed.planned and not click.confirm("Apply this plan?", err=True):
        say(job.settings, "not applied")
        return ExitCode.DONE
    if saved is None and not reviewed.planned:
        return nothing_to_do(job, reviewed)
    return wait_for(_locked(job, reviewed, stated, job.wish(saved)))


def _show(plan: Plan, settings: Settings, *, ask: bool) -> None:
    """A plan that is asked about is shown; where the result is JSON, on standard error.

    With -q one that nobody is asked about is not: what becomes of it is the result.
    """
    from reconciler.report.plan import plan_text

    if not settings.json:
        if ask or not settings.quiet:
            tell(render(plan, settings))
    elif ask:
        notice(settings, plan_text(plan))


def nothing_to_do(job: Job, plan: Plan) -> ExitCode:
    """Say so, and what is blocked."""
    from reconciler.engine.apply import blocked, exit_code

    progress = Progress(job.settings)
    progress.begin()
    outcomes = blocked(plan)
    for outcome in outcomes:
        progress.show(outcome)
    progress.finished(outcomes)
    return exit_code(plan, outcomes, interrupted=False)


async def _locked(job: Job, reviewed: Plan, stated: "Stated", wish: "Wish") -> ExitCode:
    """Under the lock: read and plan again, and go on only with what was reviewed."""
    from reconciler.cli.actor import current_actor
    from reconciler.engine.apply import Run, exit_code
    from reconciler.engine.review import accept
    from reconciler.pipeline import make_plan
    from reconciler.platforms import open_platform

    actor = current_actor(reviewed.git)
    progress = Progress(job.settings)
    progress.begin()
    platform = open_platform(job.target, job.project.root)
    try:
        async with platform.lock(actor, seconds=job.lock_seconds):
            progress.locked(actor)
            fresh = await make_plan(job.project, job.target, stated, platform, wish)
            plan = accept(reviewed, fresh.plan, budgets_given=job.budgets_given)
            run = Run(platform, fresh.desired, fresh.actual, actor, job.options)
            outcomes = await _carry_out(plan, run, progress, job.settings)
    finally:
        await platform.close()
    progress.finished(outcomes)
    return exit_code(plan, outcomes, interrupted=run.stop.is_set())


async def _carry_out(
    plan: Plan, run: "Run", progress: Progress, settings: Settings
) -> list[Outcome]:
    from reconciler.engine.apply import apply

    outcomes: list[Outcome] = []
    with stop_on_signals(run.stop, run.give_up, lambda text: say(settings, text)):
        async for event in apply(plan, run):
            progress.show(event)
            if isinstance(event, Outcome):
                outcomes.append(event)
    return outcomes
