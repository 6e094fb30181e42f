"""Applying to a platform that people operate: walk through the steps, print them, or tick them."""

import os
import shlex
from collections.abc import Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.apply import nothing_to_do
from reconciler.cli.common import Settings, say, wait_for
from reconciler.cli.job import Job, refuse_unadoptable
from reconciler.cli.manner import Manner
from reconciler.cli.planning import planned_by, render, stated_by
from reconciler.cli.progress import Progress
from reconciler.cli.streams import result, tell
from reconciler.cli.terminal import is_terminal
from reconciler.cli.ticking import Ticker
from reconciler.cli.walking import Walk
from reconciler.engine.apply import blocked, exit_code, put
from reconciler.engine.review import accept
from reconciler.engine.runbook import runbooks
from reconciler.errors import Blocked, ExitCode, WrongUsage
from reconciler.model import ActualGateway, Outcome, Plan, Result, Runbook
from reconciler.platforms import TickedWrite, open_by_hand
from reconciler.report.runbook import Checklist, checklist_markdown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.pipeline import Planned, Stated
    from reconciler.platforms import ByHand


def carry_through(job: Job, saved: Plan | None, manner: Manner) -> ExitCode:
    """Plan unless a saved plan is given; then walk, tick, print or write the steps."""
    manner.refuse_together()
    stated = stated_by(job.project, job.target, job.settings, key_needed=True)
    planned = planned_by(job.project, job.target, stated, job.wish(saved), job.settings)
    reviewed = saved or planned.plan
    # a list names all takeovers in each of its commands: those that are ticked are ours by now
    refuse_unadoptable(reviewed, job.adopting & {*manner.done} if manner.done else job.adopting)
    if not reviewed.applicable:
        raise Blocked(f"the plan is blocked: {'; '.join(reviewed.blocked or ('incomplete',))}")
    walks = is_terminal() and not (job.settings.json or manner.checklist or manner.done)
    if walks and saved is None:
        tell(render(reviewed, job.settings))
    if manner.done:
        _refuse_unplanned(reviewed, manner.done)
    if saved is None and not reviewed.planned and not manner.checklist:
        return nothing_to_do(job, reviewed)
    if walks or manner.done:
        return wait_for(_locked(job, reviewed, stated, saved, manner))
    plan = accept(reviewed, planned.plan, budgets_given=job.budgets_given)
    return _written(job, plan, planned, manner)


def _refuse_unplanned(plan: Plan, names: Sequence[str]) -> None:
    changes = {change.gateway: change for change in plan.changes}
    for name in names:
        change = changes.get(name)
        if change is None:
            planned = ", ".join(sorted(changes)) or "none"
            raise WrongUsage(
                f"--done {name}: nothing is planned for this gateway",
                f"gateways with a change: {planned}",
            )
        if change.blocked_by:
            raise Blocked(f"gateway {name} is blocked: {change.blocked_by}")


async def _locked(
    job: Job, reviewed: Plan, stated: "Stated", saved: Plan | None, manner: Manner
) -> ExitCode:
    """Under the lock: read and plan again, and go on only with what was reviewed."""
    from reconciler.cli.actor import current_actor
    from reconciler.pipeline import make_plan

    actor = current_actor(reviewed.git)
    progress = Progress(job.settings)
    progress.begin()
    platform = open_by_hand(job.target, job.project.root)
    try:
        async with platform.lock(actor, seconds=job.lock_seconds):
            progress.locked(actor)
            wish = job.wish(saved)
            fresh = await make_plan(job.project, job.target, stated, platform, wish)
            plan = accept(reviewed, fresh.plan, budgets_given=job.budgets_given)

            async def carry_out(runbook: Runbook, write: TickedWrite) -> ActualGateway:
                change = runbook.change
                return await put(platform, change, fresh.desired.get(change.gateway), write)

            ticker = Ticker(platform, actor, carry_out)
            steps = runbooks(plan, fresh.desired, fresh.actual)
            if manner.done:
                plan = _only(plan, manner.done)
                steps = tuple(one for one in steps if one.change.gateway in manner.done)
                return await _tick_all(job, plan, steps, ticker, manner.shows)
            walk = Walk(ticker, fresh.desired, progress, job.settings.style())
            return await _walk(job, plan, steps, walk, manner)
    finally:
        await platform.close()


async def _tick_all(
    job: Job, plan: Plan, steps: Sequence[Runbook], ticker: Ticker, shows: str | None
) -> ExitCode:
    progress = Progress(job.settings)
    outcomes = []
    for one in steps:
        left, _ = await ticker.left(one)
        outcome = await ticker.finish(one, left, shows)
        progress.show(outcome)
        outcomes.append(outcome)
    progress.finished(outcomes)
    say_commit(job.settings, job.project.root, ticker.platform.record)
    return exit_code(plan, outcomes, interrupted=False)


async def _walk(
    job: Job, plan: Plan, steps: Sequence[Runbook], walk: Walk, manner: Manner
) -> ExitCode:
    for outcome in blocked(plan):
        walk.progress.show(outcome)
    await walk.through(steps)
    outcomes = [*blocked(plan), *walk.outcomes]
    walk.progress.finished(outcomes)
    if walk.ticked:
        say_commit(job.settings, job.project.root, walk.ticker.platform.record)
    if any(one.result is Result.SKIPPED for one in walk.outcomes):
        left = frozenset(one.change.gateway for one in walk.outcomes if not one.written)
        again = _command(job, manner, job.adopting & left)
        say(job.settings, f"to go on, at the first step that is not ticked: {again}")
    return exit_code(plan, outcomes, interrupted=walk.interrupted)


def _written(job: Job, plan: Plan, planned: "Planned", manner: Manner) -> ExitCode:
    """Print the steps or write the checklist; nothing is ticked, and nothing locked."""
    checklist = wait_for(_checklist(job, plan, planned, manner))
    outcomes = [
        *blocked(plan),
        *(Outcome(one, Result.SKIPPED, "left to people") for one in plan.planned),
    ]
    progress = Progress(job.settings)
    if manner.checklist:
        from reconciler.files import write_text

        write_text(manner.checklist, _rendered(checklist, manner.checklist))
        say(job.settings, f"saved: {manner.checklist}")
    if job.settings.json:
        progress.begin()
        for outcome in outcomes:
            progress.show(outcome)
        progress.finished(outcomes)
    elif not manner.checklist:
        result(checklist_markdown(checklist))
    if plan.planned:
        say(job.settings, f"nothing was ticked; once it is done: {checklist.done} NAME")
    return exit_code(plan, outcomes, interrupted=False)


def _rendered(checklist: Checklist, file: Path) -> str:
    from reconciler.report.checklist import checklist_html

    html = file.suffix.lower() == ".html"
    return checklist_html(checklist) if html else checklist_markdown(checklist)


async def _checklist(job: Job, plan: Plan, planned: "Planned", manner: Manner) -> Checklist:
    from reconciler.report.runbook import ticked_by

    async with opened(job) as platform:
        return Checklist(
            plan,
            runbooks(plan, planned.desired, planned.actual),
            ticked_by(await platform.ticks()),
            platform.record,
            f"{_command(job, manner, job.adopting)} --done",
        )


@asynccontextmanager
async def opened(job: Job) -> "AsyncIterator[ByHand]":
    platform = open_by_hand(job.target, job.project.root)
    try:
        yield platform
    finally:
        await platform.close()


def _command(job: Job, manner: Manner, adopting: Collection[str]) -> str:
    """The command line that does the same again; a takeover, of those that are left."""
    words = ["gateways", "adopt", *sorted(adopting)] if adopting else ["gateways", "apply"]
    file = [str(manner.plan)] if manner.plan else []
    return shlex.join([*words, *file, "-t", job.target.name])


def _only(plan: Plan, names: Sequence[str]) -> Plan:
    return replace(plan, changes=tuple(one for one in plan.changes if one.gateway in names))


def say_commit(settings: Settings, root: Path, record: str) -> None:
    """Say which file to commit: it is what the next plan is made against."""
    path = shlex.quote(os.path.relpath(root / record))
    say(settings, f"commit the record: git add {path} && git commit")
