"""What a schema cannot express of gateways.yaml: settings that fit nothing, or not each other."""

import posixpath
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from reconciler.declarations.messages import SchemaFault
from reconciler.declarations.wording import nearest, quote

PLATFORM_NAMES: Final = ("embedded", "http", "runbook")
"""The platforms that need no add-on; whether one can be opened is seen when it is."""


def other_faults(data: Mapping[str, Any]) -> Iterator[SchemaFault]:
    """All of them; the data satisfies the schema."""
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
