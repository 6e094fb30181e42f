"""Judge declarations: the schema, then the rules, for each target; every problem at once.

What does not depend on a target is done once: only gateways with variables are completed for each.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from reconciler.declarations.certificates import CertificateFiles
from reconciler.declarations.complete import Completer, Gateways
from reconciler.declarations.declared import Declared
from reconciler.declarations.fingerprint_key import key_problems
from reconciler.declarations.load import Loaded
from reconciler.declarations.project import Project
from reconciler.declarations.promotion import promote
from reconciler.declarations.rules import (
    Context,
    Used,
    check_gateway,
    check_together,
    used_by,
)
from reconciler.declarations.secrets import SecretFiles
from reconciler.declarations.variables import Renderer, TemplateFault, is_template
from reconciler.declarations.wording import quote
from reconciler.model import Problem, Severity, Target

__all__ = ["Judged", "about", "judge", "stands_in"]


_UNUSED: Final = frozenset({"unused-secret", "unreferenced-certificate"})
_MISSING: Final = frozenset({"missing-secret", "no-fingerprint-key"})


@dataclass(frozen=True, slots=True)
class Judged:
    """The valid gateways of each judged target, its secrets, and all problems.

    The problems are those of loading too, sorted, each once; warnings that the target calls errors
    are errors. A gateway is valid here if it satisfies the schema: rules may have found errors.
    """

    declared: Mapping[str, tuple[Declared, ...]]
    problems: tuple[Problem, ...]
    secrets: Mapping[str, SecretFiles]


@dataclass(frozen=True, slots=True)
class _Share:
    """The gateways of one target."""

    valid: tuple[Declared, ...]
    all: tuple[Declared, ...]
    problems: tuple[Problem, ...]


def _every_file(_file: str) -> bool:
    return True


def judge(
    project: Project,
    loaded: Loaded,
    targets: Sequence[Target],
    *,
    now: datetime,
    asked: Callable[[str], bool] = _every_file,
) -> Judged:
    """Judge all that was loaded, for `targets`; `now` is UTC.

    The other targets of the project count too, in one thing: what they use is not unused. Rules
    that look at one gateway alone pass over those in files that are not `asked` about: nobody will
    be shown what they find.
    """
    certificates = CertificateFiles(project.root)
    completer = Completer(certificates)
    common = _joined([completer.document(document) for document in loaded.documents])
    many = len(project.targets) > 1
    everyone = {target.name: target for target in (*project.targets.values(), *targets)}
    shares = {
        name: _share(common, completer, target, many=many) for name, target in everyone.items()
    }
    scanner = _Scanner(project)
    contexts = {
        target.name: Context(target, certificates, scanner.scan(target), now) for target in targets
    }
    used = _used(everyone, shares, contexts) if many else {}
    all_read = not any(problem.severity is Severity.ERROR for problem in loaded.problems)
    found: list[Problem] = []
    for target in targets:
        secrets = scanner.scan(target)
        context = replace(contexts[target.name], elsewhere=_elsewhere(used, target.name))
        share = shares[target.name]
        problems = (
            *loaded.problems,
            *common.problems,
            *share.problems,
            *secrets.problems,
            *_by_rules(share, context, secrets, _unknowable(secrets, all_read=all_read), asked),
        )
        found += promote(problems, target)
    return Judged(
        {target.name: shares[target.name].valid for target in targets},
        _each_once(found),
        {target.name: scanner.scan(target) for target in targets},
    )


def about(problems: Iterable[Problem], files: Collection[str]) -> tuple[Problem, ...]:
    """The problems that stand in one of `files`, which are relative to the project's root.

    A clash of two gateways is a problem of each, so either file brings it up.
    """
    wanted = {file.removeprefix("./") for file in files}
    return tuple(problem for problem in problems if stands_in(problem.place.file, wanted))


def stands_in(file: str, wanted: Collection[str]) -> bool:
    """Whether a file is one of those wanted, or in a folder that is."""
    return any(one in (file, ".") or file.startswith(f"{one}/") for one in wanted)


def _joined(parts: Sequence[Gateways]) -> Gateways:
    return Gateways(
        tuple([one for part in parts for one in part.valid]),
        tuple([one for part in parts for one in part.broken]),
        tuple([one for part in parts for one in part.pending]),
        tuple([one for part in parts for one in part.problems]),
    )


def _share(common: Gateways, completer: Completer, target: Target, *, many: bool) -> _Share:
    """What of all gateways belongs to a target: its variables filled in, its labels selected."""
    suffix = f" (for target {quote(target.name)})" if many else ""
    renderer = Renderer(target.name, target.variables)
    pending, valid, broken = (
        _selected(group, target.select, renderer)
        for group in (common.pending, common.valid, common.broken)
    )
    rendered = completer.render(pending, renderer, suffix=suffix)
    valid += rendered.valid
    return _Share(valid, valid + broken + rendered.broken, rendered.problems)


def _selected(
    gateways: tuple[Declared, ...], select: Collection[tuple[str, str]], renderer: Renderer
) -> tuple[Declared, ...]:
    if not select:
        return gateways
    return tuple(one for one in gateways if _has_labels(one.fields.get("labels"), select, renderer))


def _has_labels(labels: Any, select: Collection[tuple[str, str]], renderer: Renderer) -> bool:
    """Whether all labels are there. One that cannot be filled in counts, so that it is reported."""
    if not isinstance(labels, Mapping):
        return False
    return all(_fits(labels.get(name), value, renderer) for name, value in select)


def _fits(label: Any, value: str, renderer: Renderer) -> bool:
    if not isinstance(label, str) or not is_template(label):
        return bool(label == value)
    try:
        return renderer.render(label) == value
    except TemplateFault:
        return True


class _Scanner:
    """Targets that share their secrets share one reading of the files."""

    def __init__(self, project: Project) -> None:
        self._root = project.root
        self._scanned: dict[tuple[tuple[str, ...], tuple[str, ...]], SecretFiles] = {}

    def scan(self, target: Target) -> SecretFiles:
        key = (target.secrets, target.sops_key_services)
        if key not in self._scanned:
            self._scanned[key] = SecretFiles.scan(self._root, *key)
        return self._scanned[key]


def _used(
    targets: Mapping[str, Target], shares: Mapping[str, _Share], contexts: Mapping[str, Context]
) -> dict[str, Used]:
    some = next(iter(contexts.values()), None)
    if some is None:
        return {}
    return {
        name: used_by(shares[name].all, target, replace(some, target=target))
        for name, target in targets.items()
    }


def _elsewhere(used: Mapping[str, Used], name: str) -> Used:
    others = [one for other, one in used.items() if other != name]
    return Used(
        frozenset().union(*(one.secrets for one in others)),
        frozenset().union(*(one.certificates for one in others)),
    )


def _unknowable(secrets: SecretFiles, *, all_read: bool) -> frozenset[str]:
    """The rules that need files which could not be read: those of use, and those of lack."""
    unread = any(problem.rule == "secrets-file-unreadable" for problem in secrets.problems)
    return (frozenset() if all_read else _UNUSED) | (_MISSING if unread else frozenset())


def _by_rules(
    share: _Share,
    context: Context,
    secrets: SecretFiles,
    unknowable: frozenset[str],
    asked: Callable[[str], bool],
) -> list[Problem]:
    found = [
        problem
        for declared in share.valid
        if asked(declared.source.file)
        for problem in check_gateway(declared, context)
    ]
    found += check_together(share.all, context)
    found += key_problems(share.all, context.target, secrets)
    if unknowable:
        return [problem for problem in found if problem.rule not in unknowable]
    return found


def _each_once(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sorted; where one target calls an error what another only warns of, the error stands."""
    gravest: dict[Problem, Problem] = {}
    for problem in problems:
        key = replace(problem, severity=Severity.WARNING)
        if key not in gravest or problem.severity is Severity.ERROR:
            gravest[key] = problem
    return tuple(sorted(gravest.values()))
