"""What plan, show and apply share: limits, how a plan is printed, and what it ends with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from reconciler.cli.common import Settings, explain, notice, say, wait_for
from reconciler.errors import ExitCode, InvalidInput, WrongUsage
from reconciler.model import (
    ActualGateway,
    DesiredGateway,
    Limits,
    Plan,
    PolicyChange,
    Target,
)
from reconciler.report.safe import json_text

if TYPE_CHECKING:
    from reconciler.declarations.project import Project
    from reconciler.pipeline import Before, Planned, Stated, Wish
    from reconciler.platforms import ReadablePlatform

Named = TypeVar("Named", ActualGateway, DesiredGateway)


def limits_of(target: Target, disconnects: int | None, reconnects: int | None) -> Limits:
    """The target's budgets, with those given on the command line in their place."""
    limits = target.limits
    if disconnects is not None:
        limits = replace(limits, max_disconnects=disconnects)
    if reconnects is not None:
        limits = replace(limits, max_reconnects=reconnects)
    return limits


@dataclass(frozen=True, slots=True)
class Governed:
    """A target under the policy of a commit; without one, as the tree has it.

    `base` is the target as that commit has all of it; `against`, the commit that stands in for the
    platform.
    """

    target: Target
    policy_from: str = ""
    policy: tuple[PolicyChange, ...] = ()
    base: Target | None = None
    against: "Before | None" = None


def governed(
    project: "Project", target: Target, ref: str | None, against: str | None = None
) -> Governed:
    """Take what a pull request must not decide from another commit. Raises InvalidInput."""
    from reconciler.pipeline import Before

    instead = None
    if against is not None:
        then = _target_at(project, target, against, f"--against {against}")
        instead = Before(against, then, instead=True)
    if ref is None:
        return Governed(target, against=instead)
    from reconciler.declarations.policy import kept_to

    base = _target_at(project, target, ref, f"--policy-from {ref}")
    kept, policy = kept_to(target, base)
    return Governed(kept, ref, policy, base, instead)


def _target_at(project: "Project", target: Target, ref: str, asked: str) -> Target:
    """The target as a commit has it; `asked` is the option that named the commit."""
    from reconciler.declarations.policy import policy_of
    from reconciler.declarations.project import FILE
    from reconciler.git import file_at

    text = file_at(project.root, ref, FILE)
    if text is None:
        raise _no_policy(project.root, ref, asked)
    return policy_of(text, project.root, target.name, asked)


def _no_policy(root: Path, ref: str, asked: str) -> InvalidInput:
    from reconciler.declarations.project import FILE
    from reconciler.git import commit_of, is_commit

    if is_commit(root, ref):
        return InvalidInput(
            f"{asked}: there is no {FILE} in that commit",
            f"merge {FILE} first, in a change of its own",
        )
    if commit_of(root, (FILE,)) is None:
        return InvalidInput(
            f"{asked}: git tells no history here",
            "it needs a clone of the repository, and git on PATH",
        )
    return InvalidInput(
        f"{asked}: git knows no such commit here",
        "name a commit that is in this clone, such as origin/main; CI jobs often fetch one "
        "commit only (fetch-depth: 0 fetches all)",
    )


POLICY_FROM: Final = click.option(
    "--policy-from",
    metavar="REF",
    help="Take allowed hosts, budgets, errors, freezes and where the platform is from this commit.",
)


def stated_by(
    project: "Project",
    target: Target,
    settings: Settings,
    *,
    key_needed: bool,
    ruled: Governed | None = None,
) -> "Stated":
    """What the declarations say, and its warnings told.

    Without a key, passwords are compared with those of the commit that `ruled` takes policy from,
    or of the one that stands in for the platform.
    """
    from reconciler.clock import now
    from reconciler.pipeline import Before, state

    before = ruled.against if ruled else None
    if ruled and ruled.base and not before:
        before = Before(ruled.policy_from, ruled.base)
    stated = state(project, target, now(), key_needed=key_needed, before=before)
    explain(settings, f"{target.declarations}: {len(stated.desired.gateways)} gateways, all valid")
    if not (stated.desired.secrets_compared or (before and before.instead)):
        told = f"compared with {before.ref} only" if before else "not compared"
        say(
            settings,
            f"note: no key to decrypt secrets is at hand, so passwords are {told}; "
            "set SOPS_AGE_KEY_FILE to compare them",
        )
    return stated


def planned_by(
    project: "Project", target: Target, stated: "Stated", wish: "Wish", settings: Settings
) -> "Planned":
    """A plan made with a platform that can only be read, or with a commit in its place."""
    from reconciler.pipeline import make_plan
    from reconciler.platforms import open_readable

    async def plan() -> "Planned":
        if wish.against:
            platform: ReadablePlatform = _declared_at(project, wish.against, settings)
        else:
            platform = open_readable(target, project.root)
        try:
            return await make_plan(project, target, stated, platform, wish)
        finally:
            await platform.close()

    made = wait_for(plan())
    where = wish.against.ref if wish.against else f"platform {target.platform}"
    explain(settings, f"{where}: {len(made.actual)} gateways read")
    if not made.desired and not made.actual and not made.plan.changes:
        refuse_no_match(settings)
    if not wish.against:
        _tell_absent(made.plan, project.root, target, settings)
    tell_warnings(made.plan, settings)
    return made


def _tell_absent(plan: Plan, root: Path, target: Target, settings: Settings) -> None:
    """In a clone where nobody has applied yet a plan is long, and should not surprise."""
    if not plan.changes or target.platform != "embedded":
        return
    from reconciler.service.database import has_content

    if not has_content(root / target.database):
        say(
            settings,
            f"note: the database {target.database} is not there yet, so everything is to be "
            "created",
        )


def _declared_at(project: "Project", before: "Before", settings: Settings) -> "ReadablePlatform":
    from reconciler.clock import now
    from reconciler.pipeline import declared_at

    platform = declared_at(project, before, now())
    if platform.errors:
        count = "1 error" if platform.errors == 1 else f"{platform.errors} errors"
        say(
            settings,
            f"note: the declarations of {before.ref} have {count}: what is invalid there counts as "
            "not declared",
        )
    return platform


def refreshes(settings: Settings, target: Target, *, asked: bool) -> bool:
    """Whether sessions are to be tried anew; told where they were asked for and cannot be."""
    from reconciler.platforms import is_by_hand

    if asked and is_by_hand(target):
        say(
            settings,
            "note: --refresh has no effect: this tool cannot log in to a console, so a status is "
            "what somebody said of it",
        )
        return False
    return asked


def refuse_no_match(settings: Settings) -> None:
    """A name or label that fits nothing is a typo, not an empty plan. Raises WrongUsage."""
    if settings.only or settings.labels:
        asked = " ".join([*settings.only, *settings.labels])
        raise WrongUsage(
            f"no gateway matches {asked}", "gateways status lists those of the platform"
        )


def choose(
    known: Mapping[str, Named], names: Sequence[str], settings: Settings, target: Target
) -> list[Named]:
    """Those that are named, or all; narrowed by --only and -l.

    Raises:
        WrongUsage: a name is not known, or nothing fits.

    """
    from reconciler.engine.select import matches

    for name in names:
        if name not in known:
            raise WrongUsage(f"there is no gateway {name!r}", nearest(name, known))
    selection = settings.selection(target)
    chosen = [
        one
        for name, one in known.items()
        if (not names or name in names) and matches(one.gateway, selection)
    ]
    if not chosen:
        refuse_no_match(settings)
    return chosen


def tell_warnings(plan: Plan, settings: Settings) -> None:
    """Some show only here: validate has no key, and so sees no password."""
    from reconciler.report.problems import problem_text

    for problem in plan.warnings:
        if not settings.quiet:
            notice(settings, problem_text(problem), problem.severity.value)


def render(plan: Plan, settings: Settings) -> str:
    match settings.format:
        case "json":
            from reconciler.engine.planfile import to_data

            return json_text(to_data(plan)) + "\n"
        case "markdown":
            from reconciler.report.markdown import plan_markdown

            return plan_markdown(plan)
        case "html":
            from reconciler.report.html import plan_html

            return plan_html(plan)
        case _:
            from reconciler.report.plan import plan_text

            return plan_text(plan, settings.style())


def verdict(plan: Plan, *, detailed: bool) -> ExitCode:
    if plan.blocked or any(change.blocked for change in plan.changes):
        return ExitCode.BLOCKED
    return ExitCode.CHANGES if detailed and plan.planned else ExitCode.DONE


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known."""
    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else "gateways status lists them"
