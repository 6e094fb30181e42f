"""gateways.yaml: the project's settings and its targets.

These settings are in the tree that a pull request changes, so they are judged as strictly as the
declarations are: nothing in them may lead outside the project or name a credential freely.
"""

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from reconciler import schemas
from reconciler.clock import stamp
from reconciler.declarations.messages import SchemaFault, in_words
from reconciler.declarations.project_faults import other_faults
from reconciler.declarations.strict_yaml import MAX_BYTES, Positions, YamlProblem, parse, positions
from reconciler.declarations.wording import nearest, quote
from reconciler.declarations.yaml_faults import Rest, dotted
from reconciler.errors import InvalidInput, WrongUsage
from reconciler.model import Freeze, Limits, Place, Problem, Severity, Target

FILE: Final = "gateways.yaml"

DEFAULT_OWNER: Final = "local"
DEFAULT_DECLARATIONS: Final = "gateways.d"

_NUMBERS: Final = ("max_disconnects", "max_reconnects")


@dataclass(frozen=True, slots=True)
class Project:
    """`root` is the folder of gateways.yaml; all targets share its declarations."""

    root: Path
    targets: Mapping[str, Target]
    default_target: str

    def target(self, name: str | None = None) -> Target:
        """A target by its name, or the default one.

        Raises:
            WrongUsage: there is none of that name.

        """
        wanted = name or self.default_target
        found = self.targets.get(wanted)
        if found is None:
            meant = nearest(wanted, tuple(self.targets))
            guess = f"; did you mean {quote(meant)}?" if meant else ""
            raise WrongUsage(
                f"there is no target {quote(wanted)} in {FILE}{guess}",
                "targets: " + ", ".join(sorted(self.targets)),
            )
        return found


def find_root(start: Path) -> Path:
    """The nearest folder with a gateways.yaml, from `start` upwards.

    Raises:
        InvalidInput: there is none.

    """
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        # whatever has the name, so that a link that leads nowhere is not taken for absent:
        # another project, further up, would be planned and applied
        if os.path.lexists(candidate / FILE):
            return candidate
    raise _no_settings(f"there is no {FILE} in {start} or in a folder above it")


def load_project(root: Path) -> Project:
    """Read and judge gateways.yaml in `root`.

    Raises:
        InvalidInput: it is missing or invalid; `problems` has all that is wrong with it.

    """
    path = root / FILE
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidInput(f"{FILE} in {root} is not a regular file")  # a pipe would hold us
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise InvalidInput(f"{FILE} in {root} is a link that leads nowhere") from None
        raise _no_settings(f"there is no {FILE} in {root}") from None
    except OSError as error:
        raise InvalidInput(f"{FILE} in {root} cannot be read: {error.strerror}") from None
    return read_project(text, root)


def read_project(text: bytes, root: Path) -> Project:
    """A project from the text of its gateways.yaml, which may be that of another commit.

    Raises:
        InvalidInput: the text is invalid; `problems` has all that is wrong with it.

    """
    try:
        data = parse(text, FILE)
    except YamlProblem as fault:
        problems = [*fault.problems, *_problems_of_rest(fault.rest, text)]
        raise _invalid(sorted(set(problems))) from None
    faults = _schema_faults(data) or list(other_faults(data))
    places = positions(text, FILE)
    if faults:
        raise _invalid(sorted(_problem(fault, places) for fault in faults))
    targets = {
        name: _target(name, settings, data, places.place(("targets", name), key=True))
        for name, settings in data["targets"].items()
    }
    return Project(root, targets, data.get("default_target") or next(iter(targets)))


def _no_settings(message: str) -> InvalidInput:
    return InvalidInput(message, "make a project with: gateways init")


def _invalid(problems: list[Problem]) -> InvalidInput:
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    return InvalidInput(f"{FILE} is invalid: {count}", problems=problems)


def _problem(fault: SchemaFault, places: Positions) -> Problem:
    place = places.place(fault.path, key=fault.at_key)
    return Problem(place, dotted(fault.path), fault.rule, Severity.ERROR, fault.message, fault.hint)


def _problems_of_rest(rest: Rest | None, text: bytes) -> Iterator[Problem]:
    """What else is wrong with a file that has faults; what is missing may be what was refused."""
    if rest is None or rest.data is None:
        return
    places = positions(text, FILE)
    for fault in _schema_faults(rest.data):
        if fault.at_key or not (fault.is_lack or rest.gaps.explain(fault.path)):
            yield _problem(fault, places)


def _schema_faults(data: Any) -> list[SchemaFault]:
    if schemas.gate("project")(data) and not _holds_float(data):
        return []
    if data is None:
        return [
            SchemaFault(
                (), "missing-key", f"{FILE} is empty", "add targets: {local: {platform: embedded}}"
            )
        ]
    return in_words(schemas.errors("project", "", data))


def _holds_float(data: Any) -> bool:
    """10.0 is a whole number to JSON, and nothing that a budget should be written as."""
    targets = data["targets"].values()
    return any(isinstance(target.get(key), float) for target in targets for key in _NUMBERS)


def _target(
    name: str, settings: Mapping[str, Any], project: Mapping[str, Any], place: Place
) -> Target:
    """One target; what it does not say itself, the project or a default says."""
    get = settings.get
    declarations = posixpath.normpath(project.get("declarations", DEFAULT_DECLARATIONS))
    secrets = (f"{declarations}/secrets/*.sops.yaml",)
    key = project.get("fingerprint_key", "fingerprint_key")
    return Target(
        name=name,
        platform=settings["platform"],
        place=place,
        owner=project.get("owner", DEFAULT_OWNER),
        declarations=declarations,
        secrets=tuple(get("secrets", project.get("secrets", secrets))),
        fingerprint_key=get("fingerprint_key", key),
        database=get("database", ".gateways/platform.db"),
        url=get("url"),
        tenant=get("tenant"),
        token_env=get("token", {}).get("env"),
        record=get("record"),
        variables=dict(get("variables", {})),
        select=tuple(sorted(get("select", {}).items())),
        limits=Limits(
            max_disconnects=get("max_disconnects", 0),
            max_reconnects=get("max_reconnects"),
            allow_hosts=tuple(get("allow_hosts", ())),
            allow_names=tuple(get("allow_names", ())),
            freeze=tuple(_freeze(one) for one in get("freeze", ())),
        ),
        errors=frozenset(get("errors", ())),
        sops_key_services=tuple(get("sops_key_services", ())),
        check_logins=tuple(get("check_logins", ())),
    )


def _freeze(settings: Mapping[str, Any]) -> Freeze:
    weekly = settings.get("weekly", "")
    return Freeze(
        settings["reason"],
        "" if weekly else stamp(datetime.fromisoformat(settings["from"])),
        "" if weekly else stamp(datetime.fromisoformat(settings["until"])),
        weekly,
        settings.get("timezone", "UTC"),
    )
