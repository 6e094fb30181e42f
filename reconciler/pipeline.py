"""The stages in order. Read this first.

    gateways.d/*.yaml -> load -> validate -> resolve secrets -> desired
                                         platform -> read -> actual
    desired and actual -> diff -> guard -> plan                (-> apply, in engine/apply.py)

Each stage has one input and one output. The only thing that planning holds of a platform is a
reader, so that no plan can change anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler import __version__
from reconciler.clock import created_at, stamp
from reconciler.declarations import rotation
from reconciler.declarations.cache import ParseCache
from reconciler.declarations.certificate_facts import expires
from reconciler.declarations.load import Loaded, load
from reconciler.declarations.project import Project
from reconciler.declarations.promotion import promote
from reconciler.declarations.resolve import Desired, resolve
from reconciler.declarations.secrets import SecretFiles
from reconciler.declarations.validate import Judged, judge
from reconciler.engine import diff, guard, planfile
from reconciler.engine.select import select
from reconciler.errors import InvalidInput
from reconciler.git import commit_of, files_at
from reconciler.model import (
    Action,
    ActualGateway,
    Change,
    DesiredGateway,
    Digests,
    Limits,
    Plan,
    PolicyChange,
    Problem,
    Selection,
    Target,
    Warned,
    gateway_of,
    ref_text,
    split_problems,
)
from reconciler.platforms import ReadablePlatform, is_by_hand
from reconciler.platforms.declared import DeclaredPlatform


@dataclass(frozen=True, slots=True)
class Stated:
    """What the declarations say for one target, and the warnings.

    `outside` are the gateways that are declared, but not selected by the target.
    """

    desired: Desired
    warnings: tuple[Problem, ...]
    outside: frozenset[str]


@dataclass(frozen=True, slots=True)
class Before:
    """Another commit, that secrets files are compared with; the target as it has it.

    `instead` says that everything is, since it stands in for the platform.
    """

    ref: str
    target: Target
    instead: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What a plan is asked for beyond the target's settings; `policy` says where these are from."""

    selection: Selection = field(default_factory=Selection)
    limits: Limits | None = None
    refresh: bool = False
    adopting: frozenset[str] = frozenset()
    policy_from: str = ""
    policy: tuple[PolicyChange, ...] = ()
    against: Before | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and the two sides that it was made from."""

    plan: Plan
    desired: Mapping[str, DesiredGateway]
    actual: Mapping[str, ActualGateway]


def judged(
    project: Project, targets: Sequence[Target], now: datetime, *, cached: bool = True
) -> tuple[Loaded, Judged]:
    """Load and validate: the verdict has every problem of both."""
    cache = ParseCache.open(project.root) if cached else None
    loaded = load(project.root, targets[0].declarations, cache)
    return loaded, judge(project, loaded, targets, now=now)


def state(
    project: Project,
    target: Target,
    now: datetime,
    *,
    key_needed: bool,
    before: Before | None = None,
) -> Stated:
    """What the declarations say for one target, passwords resolved.

    Where no key is at hand and none is needed, passwords are left as they are: not compared, or
    told by their ciphertexts from those of the commit `before`. A secrets file that was written
    later at that commit is warned of, with a key or without.

    Raises:
        InvalidInput: any file or any value is invalid; it has every problem.
        SecretsUnavailable: a secrets file that is needed cannot be read.

    """
    # what sends passwords relies on nothing that another run left behind
    loaded, verdict = judged(project, [target], now, cached=not key_needed)
    stop_on(verdict.problems)
    secrets = verdict.secrets[target.name]
    keyless = not (key_needed or secrets.has_identity()) or bool(before and before.instead)
    desired = resolve(verdict.declared[target.name], target, secrets, keyless=keyless)
    problems = {*verdict.problems, *desired.problems}
    if before:
        desired, found = _since(project, before, desired, secrets, now)
        problems.update(promote(found, target))
    told = tuple(sorted(problems))
    stop_on(told)
    return Stated(desired, told, _outside(loaded, desired))


def _since(
    project: Project, before: Before, desired: Desired, secrets: SecretFiles, now: datetime
) -> tuple[Desired, tuple[Problem, ...]]:
    """What became of passwords since a commit, and warnings of the files that hold them."""
    base, used = before.target, {one.secret for one in desired.gateways}
    if desired.secrets_compared:
        with _copy_of(project, before.ref, *base.secrets) as copy:
            return desired, rotation.older(rotation.sealed_of(copy, base), secrets, used)
    with _copy_of(project, before.ref, base.declarations, *base.secrets) as copy:
        then = rotation.base_of(copy, base, now)
    gateways, found = rotation.since(then, desired.gateways, secrets)
    return replace(desired, gateways=gateways), (
        *found,
        *rotation.older(then.values, secrets, used),
    )


def declared_at(project: Project, before: Before, now: datetime) -> DeclaredPlatform:
    """What a commit declares, to be read as a platform is; what is invalid there is left out."""
    target = before.target
    with _copy_of(project, before.ref, target.declarations, *target.secrets) as copy:
        verdict = rotation.judged_at(copy, target, now)
        declared, secrets = verdict.declared[target.name], verdict.secrets[target.name]
        desired = resolve(declared, target, secrets, keyless=True)
    errors, _ = split_problems(verdict.problems)
    return DeclaredPlatform(
        desired.gateways, target.owner, told=is_by_hand(target), errors=len(errors)
    )


@contextmanager
def _copy_of(project: Project, ref: str, *patterns: str) -> Iterator[Path]:
    """A copy of these files of another commit, which is gone afterwards."""
    files = files_at(project.root, ref, sorted({_folder(pattern) for pattern in patterns}))
    if files is None:
        raise InvalidInput(f"the files of commit {ref} cannot be read from git")
    with TemporaryDirectory(prefix="gateways-") as copy:
        for name, content in files.items():
            path = Path(copy, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield Path(copy)


def _folder(pattern: str) -> str:
    """The part of a pattern that names a folder, or a file, outright."""
    parts = takewhile(lambda part: not any(one in part for one in "*?["), pattern.split("/"))
    return "/".join(parts) or "."


def _outside(loaded: Loaded, desired: Desired) -> frozenset[str]:
    declared = {
        name for document in loaded.documents for name in document.data.get("gateways") or ()
    }
    return frozenset(declared - {one.gateway.name for one in desired.gateways})


async def make_plan(
    project: Project, target: Target, stated: Stated, platform: ReadablePlatform, wish: Wish
) -> Planned:
    """Compare what is stated with what the platform has; what is returned cannot run itself.

    Raises:
        PlatformUnavailable: the platform cannot be read.

    """
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
    ours = diff.Ours(target.owner, wish.adopting, told=snapshot.told)
    changes = diff.diff(chosen.desired, chosen.actual, ours, supervised=snapshot.supervised)
    if wish.adopting:
        changes = diff.only_adopted(changes, wish.adopting)
    if wish.against:
        changes = tuple(_said_of_a_commit(change, wish.against.ref) for change in changes)
    changes = _with_warnings((*changes, *chosen.leaving), stated.warnings)
    changes = tuple(_with_expiry(change, wanted.get(change.gateway)) for change in changes)
    changed = {change.gateway for change in changes}
    plan = Plan(
        target=target.name,
        platform=target.platform,
        changes=changes,
        unchanged=len(wanted.keys() - changed),
        drift=diff.drift(tuple(chosen.actual.values()), target.owner, wanted),
        foreign=tuple(
            name
            for name, one in chosen.actual.items()
            if one.owner != target.owner and name not in wanted
        ),
        warnings=stated.warnings,
        digests=Digests(desired.digest, planfile.actual_digest(chosen.actual.values()), ""),
        created_at=created_at(),
        tool_version=__version__,
        git=commit_of(project.root, (target.declarations, "gateways.yaml", *target.secrets)),
        selection=wish.selection,
        refreshed=wish.refresh,
        secrets_compared=desired.secrets_compared,
        policy_from=wish.policy_from,
        policy=wish.policy,
        against=wish.against.ref if wish.against else "",
    )
    limits = wish.limits or target.limits
    plan = guard.guard(plan, limits, wanted, chosen.actual)
    plan = guard.refuse_frozen(plan, limits.freeze)
    plan = guard.refuse_empty(plan, len(desired.gateways), len(stated.outside))
    return Planned(planfile.sealed(plan), wanted, chosen.actual)


def _said_of_a_commit(change: Change, ref: str) -> Change:
    if change.action is not Action.CREATE:
        return change
    return replace(change, reason=f"not declared at {ref_text(ref)}")


def _with_warnings(changes: Sequence[Change], warnings: Sequence[Problem]) -> tuple[Change, ...]:
    """Sorted, each with the warnings of its gateway, where a reviewer looks."""
    names = {change.gateway for change in changes}
    found: dict[str, list[Warned]] = {}
    for problem in warnings:
        name = gateway_of(problem, names)
        if name:
            found.setdefault(name, []).append(Warned(problem.rule, problem.message))
    ordered = sorted(changes, key=lambda change: change.gateway)
    return tuple(replace(one, warnings=tuple(found.get(one.gateway, ()))) for one in ordered)


def _with_expiry(change: Change, desired: DesiredGateway | None) -> Change:
    anchor = desired.gateway.certificate if desired else None
    moment = expires(anchor.pem) if anchor else None
    return replace(change, certificate_expires=stamp(moment)) if moment else change


def stop_on(problems: Sequence[Problem]) -> None:
    """Stop at the border of a stage, with all of its errors at once."""
    errors, _ = split_problems(problems)
    if errors:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise InvalidInput(f"the declarations are invalid: {count}", problems=problems)
