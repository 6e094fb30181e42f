"""What the service says when it refuses, as one of our errors: its own words, cleaned."""

from collections.abc import Mapping
from typing import Any, Final

from reconciler.errors import (
    AlreadyThere,
    Blocked,
    GatewaysError,
    InvalidInput,
    KeyReused,
    Locked,
    NotOurs,
    NotThere,
    PlatformUnavailable,
    RevisionMoved,
)
from reconciler.model import MASK
from reconciler.platforms.http_setbacks import Setback

TYPE: Final = "urn:gateways:problem:"
_LONGEST: Final = 500
_MOST_FIELDS: Final = 10


def refusal_of(
    data: Mapping[str, Any], status: int, asked: float | None, secrets: tuple[str, ...]
) -> Setback | None:
    """Read a problem of the service; None if it is not of a service of gateways.

    `secrets` are what must not be seen, even if a service were to repeat it. That nothing was
    stored can be said by a service that refuses, but not by one that failed in the middle.
    """
    kind = data.get("type")
    if not isinstance(kind, str) or not kind.startswith(TYPE):
        return None
    slug = kind.removeprefix(TYPE)
    message = _clean(data.get("detail"), secrets) or _clean(data.get("title"), secrets) or slug
    told = [
        f"{field} {wrong}"
        for field, wrong in _fields(data.get("errors"), secrets)
        if field not in message or wrong not in message
    ]
    if told:
        message += f" ({'; '.join(told)})"
    error = _KINDS.get(slug, PlatformUnavailable)
    return Setback(
        error(message, _clean(data.get("hint"), secrets) or _HINTS.get(slug, "")),
        doubtful=status >= _FAILED and slug not in _NOTHING_DONE,
        passing=slug in _PASSING,
        asked=asked,
    )


def _fields(errors: Any, secrets: tuple[str, ...]) -> list[tuple[str, str]]:
    """Each field, and what is wrong with it."""
    if not isinstance(errors, list):
        return []
    return [
        (_clean(one.get("field"), secrets), _clean(one.get("message"), secrets))
        for one in errors[:_MOST_FIELDS]
        if isinstance(one, dict)
    ]


def _clean(text: Any, secrets: tuple[str, ...]) -> str:
    """On one line, not too long, without what could move a terminal's cursor or hide."""
    if not isinstance(text, str):
        return ""
    found = text
    for secret in secrets:
        found = found.replace(secret, MASK)
    found = " ".join("".join(char if char.isprintable() else " " for char in found).split())
    return found if len(found) <= _LONGEST else found[: _LONGEST - 1] + "…"


class SnapshotGone(PlatformUnavailable):
    """The pages that were not read yet are no longer kept."""


_KINDS: Final[Mapping[str, type[GatewaysError]]] = {
    "invalid": InvalidInput,
    "too-large": InvalidInput,
    "key-required": PlatformUnavailable,
    "key-reused": KeyReused,
    "unauthorized": PlatformUnavailable,
    "forbidden": PlatformUnavailable,
    "not-found": NotThere,
    "exists": AlreadyThere,
    "revision-moved": RevisionMoved,
    "precondition-required": RevisionMoved,
    "not-ours": NotOurs,
    "blocked": Blocked,
    "locked": Locked,
    "lock-lost": Locked,
    "snapshot-gone": SnapshotGone,
}
"""A slug that is not here is of a platform that cannot do its work now."""

_FAILED: Final = 500
_NOTHING_DONE: Final = frozenset({"busy", "storage-full", "sealed"})
_PASSING: Final = frozenset({"too-many-requests", "busy", "unavailable", "internal"})

_HINTS: Final[Mapping[str, str]] = {
    "unauthorized": "on the service's machine a token is made with: gateways token new",
    "storage-full": "free space on the service's disk, then run the command again",
    "too-many-requests": "run the command again later, or with a smaller --parallel",
    "unavailable": "see the service's log",
    "internal": "see the service's log",
}
