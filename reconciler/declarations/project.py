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
from reconciler.declarations.strict_yaml import MAX_BYTES, Positions, YamlProblem, parse, positions
from reconciler.declarations.wording import nearest, quote
from reconciler.declarations.yaml_faults import Rest, dotted
from reconciler.errors import InvalidInput, WrongUsage
from reconciler.model import Freeze, Limits, Place, Problem, Severity, Target

FILE: Final = "gateways.yaml"

PLATFORM_NAMES: Final = ("embedded", "http", "runbook")
"""The platforms that need no add-on; whether one can be opened is seen when it is."""

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
    faults = _schema_faults(data) or list(_other_faults(data))
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


def _other_faults(data: Mapping[str, Any]) -> Iterator[SchemaFault]:
    """What no schema can express; the data satisfies the schema."""
    targets = data["targets"]
    yield from _default_target_faults(data.get("default_target"), tuple(targets))
    for name, settings in targets.items():
        yield from _platform_faults(name, settings["platform"], data)
        yield from _rule_faults(name, settings.get("errors", ()))
        for index, freeze in enumerate(settings.get("freeze", ())):
            yield from _freeze_faults(("targets", name, "freeze", index), freeze)
    yield from _record_faults(targets)


def _default_target_faults(default: str | None, names: tuple[str, ...]) -> Iterator[SchemaFault]:
    known = ", ".join(names)
    if default is None and len(names) > 1:
        yield SchemaFault(
            ("default_target",),
            "missing-key",
            "default_target is missing, but there is more than one target",
            f"add default_target, one of {known}",
        )
    elif default is not None and default not in names:
        message = f"there is no target {quote(default)}{_guess(default, names)}"
        yield SchemaFault(("default_target",), "unknown-target", message, f"targets: {known}")


def _platform_faults(name: str, platform: str, data: Mapping[str, Any]) -> Iterator[SchemaFault]:
    path = ("targets", name, "platform")
    if platform not in PLATFORM_NAMES and not _is_installed(platform):
        yield SchemaFault(
            path,
            "unknown-platform",
            f"there is no platform {quote(platform)}{_guess(platform, PLATFORM_NAMES)}",
            "platforms: " + ", ".join(PLATFORM_NAMES) + ", and those of installed add-ons",
        )
    if platform == "http" and "owner" not in data:
        yield SchemaFault(
            path,
            "owner-required",
            "platform http is shared with others, but the project has no owner",
            "add owner at the top of the file, a name that no other repository uses",
        )


def _record_faults(targets: Mapping[str, Any]) -> Iterator[SchemaFault]:
    """Each of two targets would take the other's gateways for its own, and disconnect them."""
    first: dict[str, str] = {}
    for name, settings in targets.items():
        if "record" not in settings:
            continue
        other = first.setdefault(posixpath.normpath(settings["record"]), name)
        if other != name:
            yield SchemaFault(
                ("targets", name, "record"),
                "shared-record",
                f"this is the record of target {quote(other)} already",
                "a record stands for one console: name another file, or keep one target",
            )


def _is_installed(platform: str) -> bool:
    from importlib.metadata import entry_points  # noqa: PLC0415 - only for an unusual platform

    return bool(entry_points(group="gateways.platforms", name=platform))


def _rule_faults(name: str, slugs: list[str]) -> Iterator[SchemaFault]:
    if not slugs:
        return
    from reconciler.declarations.catalogue import catalogue  # noqa: PLC0415

    rules = catalogue()
    for index, slug in enumerate(slugs):
        if slug not in rules:
            yield SchemaFault(
                ("targets", name, "errors", index),
                "unknown-rule",
                f"there is no rule {quote(slug)}{_guess(slug, tuple(rules))}",
                "write the slug that a warning shows in brackets",
            )


def _freeze_faults(path: tuple[str | int, ...], freeze: Mapping[str, Any]) -> Iterator[SchemaFault]:
    between = [key for key in ("from", "until") if key in freeze]
    if ("weekly" in freeze) == bool(between) or len(between) == 1:
        yield SchemaFault(
            path,
            "bad-freeze",
            "a freeze has a beginning and an end, or a time of the week",
            "write from and until, or weekly, and not both",
        )
        return
    moments = []
    for key in between:
        try:
            moments.append(datetime.fromisoformat(freeze[key]))
        except ValueError:
            yield SchemaFault(
                (*path, key),
                "bad-moment",
                f"{key} cannot be {quote(freeze[key])}",
                "there is no such day, or no such offset",
            )
    if len(moments) == 2 and moments[0] >= moments[1]:  # noqa: PLR2004 - from and until
        yield SchemaFault(
            (*path, "until"),
            "bad-freeze",
            "the freeze ends before it begins",
            "from must come before until",
        )
    begins, _, ends = freeze.get("weekly", "").partition(" - ")
    if begins and begins == ends:
        yield SchemaFault(
            (*path, "weekly"),
            "bad-freeze",
            "the freeze ends as it begins, so that it would freeze nothing",
            "for a whole week and longer, write from and until",
        )
    zone = freeze.get("timezone", "UTC")
    if not _is_timezone(zone):
        yield SchemaFault(
            (*path, "timezone"),
            "bad-timezone",
            f"timezone cannot be {quote(zone)}",
            "write a name of the IANA database, such as Europe/Berlin",
        )


def _is_timezone(name: str) -> bool:
    if name == "UTC":
        return True
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only for a weekly freeze

    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # unknown, a folder of it, or no such path
        return False
    return True


def _guess(word: str, known: tuple[str, ...]) -> str:
    meant = nearest(word, known)
    return f"; did you mean {quote(meant)}?" if meant else ""


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
