"""The stages in order. Read this first.

    gateways.d/*.yaml -> load -> validate -> resolve secrets -> desired
                                         platform -> read -> actual
    desired and actual -> diff -> guard -> plan                (-> apply, in engine/apply.py)

Each stage has one input and one output. The only thing that planning holds of a platform is a
reader, so that no plan can change anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconciler import __version__
from reconciler.clock import created_at
from reconciler.declarations.cache import ParseCache
from reconciler.declarations.load import Loaded, load
from reconciler.declarations.project import Project
from reconciler.declarations.resolve import Desired, resolve
from reconciler.declarations.validate import Judged, judge
from reconciler.engine import diff, guard, planfile
from reconciler.engine.select import select
from reconciler.errors import InvalidInput
from reconciler.git import commit_of
from reconciler.model import (
    ActualGateway,
    DesiredGateway,
    Digests,
    Limits,
    Plan,
    Problem,
    Selection,
    Target,
    split_problems,
)
from reconciler.platforms import ReadablePlatform


@dataclass(frozen=True, slots=True)
class Wish:
    """What a run asks for beyond the target's settings."""

    now: datetime
    selection: Selection = field(default_factory=Selection)
    limits: Limits | None = None
    refresh: bool = False
    key_needed: bool = False
    adopting: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and the two sides that it was made from."""

    plan: Plan
    desired: Mapping[str, DesiredGateway]
    actual: Mapping[str, ActualGateway]
    secrets_compared: bool


@dataclass(frozen=True, slots=True)
class Stated:
    """What the declarations say for one target, and the warnings.

    `outside` are the gateways that are declared, but not selected by the target.
    """

    desired: Desired
    warnings: tuple[Problem, ...]
    outside: frozenset[str]


def judged(
    project: Project, targets: Sequence[Target], now: datetime, *, cached: bool = True
) -> tuple[Loaded, Judged]:
    """Load and validate: the verdict has every problem of both."""
    cache = ParseCache.open(project.root) if cached else None
    loaded = load(project.root, targets[0].declarations, cache)
    return loaded, judge(project, loaded, targets, now=now)


def desired_gateways(
    project: Project, target: Target, now: datetime, *, key_needed: bool
) -> Stated:
    """What the declarations say for one target, passwords resolved.

    Where no key is at hand and none is needed, passwords are left as they are: not compared.

    Raises:
        InvalidInput: any file or any value is invalid; it has every problem.
        SecretsUnavailable: a secrets file that is needed cannot be read.

    """
    # what sends passwords relies on nothing that another run left behind
    loaded, verdict = judged(project, [target], now, cached=not key_needed)
    stop_on(verdict.problems)
    secrets = verdict.secrets[target.name]
    keyless = not key_needed and not secrets.has_identity()
    desired = resolve(verdict.declared[target.name], target, secrets, keyless=keyless)
    problems = tuple(sorted({*verdict.problems, *desired.problems}))
    stop_on(problems)
    return Stated(desired, problems, _outside(loaded, desired))


def _outside(loaded: Loaded, desired: Desired) -> frozenset[str]:
    declared = {
        name for document in loaded.documents for name in document.data.get("gateways") or ()
    }
    return frozenset(declared - {one.gateway.name for one in desired.gateways})


async def make_plan(
    project: Project, target: Target, platform: ReadablePlatform, wish: Wish
) -> Planned:
    """All the stages; what is returned cannot run itself."""
    stated = desired_gateways(project, target, wish.now, key_needed=wish.key_needed)
    desired = stated.desired
    snapshot = await platform.read(refresh=wish.refresh)
    chosen = select(
        desired.gateways,
        stated.outside,
        snapshot,
        wish.selection,
        owner=target.owner,
    )
    wanted = {one.gateway.name: one for one in chosen.desired}
    ours = diff.Ours(target.owner, wish.adopting)
    changes = diff.diff(chosen.desired, chosen.actual, ours, supervised=snapshot.supervised)
    changed = {change.gateway for change in changes}
    plan = Plan(
        target=target.name,
        platform=target.platform,
        changes=tuple(sorted((*changes, *chosen.leaving), key=lambda change: change.gateway)),
        unchanged=len(wanted.keys() - changed),
        drift=diff.drift(tuple(chosen.actual.values()), target.owner),
        foreign=tuple(
            name
            for name, one in chosen.actual.items()
            if one.owner != target.owner and name not in wanted
        ),
        warnings=stated.warnings,
        digests=Digests(desired.digest, planfile.actual_digest(chosen.actual.values()), ""),
        created_at=created_at(),
        tool_version=__version__,
        git=commit_of(project.root, (target.declarations, "gateways.yaml")),
    )
    plan = guard.guard(plan, wish.limits or target.limits, wanted, chosen.actual)
    plan = guard.refuse_empty(plan, len(desired.gateways))
    return Planned(planfile.sealed(plan), wanted, chosen.actual, desired.secrets_compared)


def stop_on(problems: Sequence[Problem]) -> None:
    """Stop at the border of a stage, with all of its errors at once."""
    errors, _ = split_problems(problems)
    if errors:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise InvalidInput(f"the declarations are invalid: {count}", problems=problems)
