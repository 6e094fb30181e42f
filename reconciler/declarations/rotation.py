"""Which passwords a change sets anew, or back: by what sops wrote here and at a commit.

It says what the change does to the secrets files, and nothing of what the platform has. Whoever
has no key can make a ciphertext look changed; he cannot make a changed password look the same.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from reconciler.clock import stamp
from reconciler.declarations.catalogue.secrets import problem
from reconciler.declarations.load import load
from reconciler.declarations.project import Project
from reconciler.declarations.secrets import SecretFiles
from reconciler.declarations.sops.sealed import Sealed
from reconciler.declarations.validate import Judged, judge
from reconciler.model import DesiredGateway, Place, Problem, SecretState, Target


@dataclass(frozen=True, slots=True)
class Base:
    """The secrets of another commit: the name that each gateway refers to, and the values."""

    names: Mapping[str, str | None]
    values: Mapping[str, Sealed]


def base_of(root: Path, target: Target, now: datetime) -> Base:
    """The secrets of the declarations in `root`, a copy of another commit; `target` is of it too.

    What is invalid there is left out, and so compares with nothing.
    """
    verdict = judged_at(root, target, now)
    names = {one.name: one.secret for one in verdict.declared[target.name]}
    return Base(names, verdict.secrets[target.name].sealed)


def judged_at(root: Path, target: Target, now: datetime) -> Judged:
    """The declarations in `root`, a copy of another commit; `target` is of it too."""
    loaded = load(root, target.declarations)
    project = Project(root, {target.name: target}, target.name)
    # what rules find in it was for whoever merged it to see
    return judge(project, loaded, [target], now=now, asked=lambda _file: False)


def sealed_of(root: Path, target: Target) -> Mapping[str, Sealed]:
    """The encrypted secrets in `root`, a copy of another commit; `target` is of it too."""
    return SecretFiles.scan(root, target.secrets, target.sops_key_services).sealed


def since(
    base: Base, desired: Sequence[DesiredGateway], secrets: SecretFiles
) -> tuple[tuple[DesiredGateway, ...], tuple[Problem, ...]]:
    """The gateways, each with what became of its password; a warning for each file of other keys.

    In such a file every ciphertext is another one, whether the password is or not.
    """
    found = []
    other_keys: dict[str, int] = {}
    for one in desired:
        if one.secret is None:
            found.append(one)
            continue
        told = _told(base, one, secrets)
        if told is None:
            file = secrets.names[one.secret].file
            other_keys[file] = other_keys.get(file, 0) + 1
        found.append(replace(one, since_base=told))
    return tuple(found), tuple(_other_keys(file, count) for file, count in other_keys.items())


def older(
    base: Mapping[str, Sealed], secrets: SecretFiles, used: Collection[str | None]
) -> tuple[Problem, ...]:
    """A warning for each file with a secret in use that was written later at the commit.

    It is an earlier state of the file. Whoever dates it forward without the key has a file that
    opens for nobody.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, ours in secrets.sealed.items():
        theirs = base.get(name)
        if name not in used or not (theirs and theirs.written_at and ours.written_at):
            continue
        if ours.written_at < theirs.written_at:
            found[secrets.names[name].file] = stamp(ours.written_at), stamp(theirs.written_at)
    return tuple(_older(file, *times) for file, times in found.items())


def _older(file: str, ours: str, theirs: str) -> Problem:
    return problem(
        "secrets-file-older",
        Place(file),
        "",
        f"the file was last written at {ours}, and at the commit that this is compared with at "
        f"{theirs}: its passwords may be earlier ones",
        "bring the branch up to date; an earlier password that is wanted is set anew with sops set",
    )


def _told(base: Base, one: DesiredGateway, secrets: SecretFiles) -> SecretState | None:
    """None where the secret is the same one, in a file of other keys."""
    name = one.secret or ""
    ours = secrets.sealed.get(name)
    theirs = base.values.get(base.names.get(one.gateway.name) or "")
    if ours is None or theirs is None or base.names.get(one.gateway.name) != name:
        return SecretState.NOT_COMPARED
    if ours.keys != theirs.keys:
        return None
    if ours.path != theirs.path:
        return SecretState.NOT_COMPARED
    return SecretState.UNCHANGED if ours.text == theirs.text else SecretState.ROTATED


def _other_keys(file: str, count: int) -> Problem:
    gateways = "1 gateway" if count == 1 else f"{count} gateways"
    return problem(
        "secrets-file-keys",
        Place(file),
        "",
        "the file has other keys or recipients than at the commit that this is compared with, so "
        f"whether the passwords of {gateways} are others cannot be told without a key",
        "have somebody with the key plan this, and look at who can read the file now",
    )
