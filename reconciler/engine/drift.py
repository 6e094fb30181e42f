"""What the platform has that the declarations do not explain. Pure.

A difference between the two sides is either on its way or it is drift. It is on its way where the
platform's last word on it came from a commit in our history: the declarations have moved on since,
and a plan shows it. It is drift where that word came from anywhere else: a button, another commit,
files that were never committed, or past the platform altogether.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reconciler.engine.diff import compare_password, field_changes
from reconciler.model import (
    PASSWORD_FIELD,
    Action,
    ActualGateway,
    Cause,
    DesiredGateway,
    FieldChange,
    Happening,
    SecretChange,
    SecretState,
    State,
    StatusState,
)

Fields = tuple[FieldChange | SecretChange, ...]
Told = Sequence[Happening]
Ours = Callable[[Happening], bool]
"""Whether a happening came from a commit in our history."""


class Kind(StrEnum):
    CHANGED = "changed"
    UNDECLARED = "undeclared"
    DISCONNECTED = "disconnected"
    CONNECTED = "connected"
    TAKEN_OVER = "taken over"


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that the declarations do not explain, and who did it, where that is known.

    `fields` go from what is declared to what the platform has; a password is a word.
    """

    gateway: str
    kind: Kind
    reason: str
    revision: str
    fields: Fields = ()
    by: Happening | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """What drifted; the gateways that a plan would change anyway; and how many are as declared."""

    drift: tuple[Drift, ...]
    on_the_way: tuple[str, ...]
    as_declared: int


@dataclass(frozen=True, slots=True)
class Sides:
    """What is declared and what there is, of the same selection, and whose gateways are ours."""

    desired: Mapping[str, DesiredGateway]
    actual: Mapping[str, ActualGateway]
    owner: str

    @property
    def names(self) -> list[str]:
        """Those that the declarations are about: foreign ones that they do not name are not."""
        ours = (name for name, one in self.actual.items() if one.owner == self.owner)
        return sorted({*self.desired, *ours})


def differing(sides: Sides) -> tuple[str, ...]:
    """The gateways of which the two sides do not agree; how their sessions do is no matter."""
    return tuple(name for name in sides.names if _differs(sides, name))


def explain(sides: Sides, history: Mapping[str, Told], ours: Ours) -> Explained:
    """Tell drift from what is on its way; `history` is that of the differing gateways."""
    drift: list[Drift] = []
    on_the_way: list[str] = []
    names = differing(sides)
    for name in names:
        found = tuple(_drift(sides, name, history.get(name, ()), ours))
        drift += found
        if not found or _also_on_the_way(sides, name, found):
            on_the_way.append(name)
    as_declared = len(sides.desired.keys() - set(names))
    return Explained(tuple(drift), tuple(on_the_way), as_declared)


def _differs(sides: Sides, name: str) -> bool:
    desired, actual = sides.desired.get(name), sides.actual.get(name)
    if desired is None or actual is None:
        return actual is None or not _is_off(actual)
    return (
        actual.owner != sides.owner
        or any(_fields(desired, actual))
        or _is_switched(desired, actual)
    )


def _also_on_the_way(sides: Sides, name: str, found: Sequence[Drift]) -> bool:
    """Whether fields differ that are none of the drift's."""
    desired, actual = sides.desired.get(name), sides.actual.get(name)
    if desired is None or actual is None or actual.owner != sides.owner:
        return False
    drifted = {field.field for one in found for field in one.fields}
    return any(one.field not in drifted for one in _fields(desired, actual))


def _fields(desired: DesiredGateway, actual: ActualGateway) -> Fields:
    """What differs from what is declared; a password only where that is certain."""
    fields: Fields = tuple(field_changes(desired.gateway, actual.gateway))
    word = _AS_ON_THE_PLATFORM.get(compare_password(desired, actual))
    return (*fields, SecretChange(PASSWORD_FIELD, word)) if word else fields


def _is_switched(desired: DesiredGateway, actual: ActualGateway) -> bool:
    """Off where it is declared on, or the other way round; off because it failed is as declared."""
    if _is_off(actual) is (desired.gateway.state is State.DISCONNECTED):
        return False
    return actual.status.cause is not Cause.WHEN_FAILED


def _drift(sides: Sides, name: str, told: Told, ours: Ours) -> Iterator[Drift]:
    desired, actual = sides.desired.get(name), sides.actual.get(name)
    if actual is None:
        return
    if actual.owner != sides.owner:
        yield from _taken_over(actual, sides.owner, told)
    elif desired is None:
        yield _undeclared(actual, told, ours)
    else:
        yield from _changed(desired, actual, told, ours)
        yield from _switched(desired, actual, told, ours)


def _taken_over(actual: ActualGateway, owner: str, told: Told) -> Iterator[Drift]:
    """One that was never ours is no drift: a plan says that it is foreign."""
    by = _last(told, lambda one: any(_is_owner(change, owner) for change in one.changes))
    if by:
        reason = f"taken over: it belongs to {actual.owner!r} now"
        yield Drift(actual.gateway.name, Kind.TAKEN_OVER, reason, actual.revision, by=by)


def _undeclared(actual: ActualGateway, told: Told, ours: Ours) -> Drift:
    made = _last(told, lambda one: one.action in {Action.CREATE, Action.ADOPT})
    reason = "ours, connected, and not declared"
    if _explained(made, ours):
        reason = "ours and still connected, but no longer declared"
    return Drift(actual.gateway.name, Kind.UNDECLARED, reason, actual.revision, by=made)


def _changed(
    desired: DesiredGateway, actual: ActualGateway, told: Told, ours: Ours
) -> Iterator[Drift]:
    """The fields that somebody else wrote last, one drift for each time that somebody did."""
    groups: dict[int, tuple[Happening | None, list[FieldChange | SecretChange]]] = {}
    for change in _fields(desired, actual):
        by = _writer(change, told)
        if not ours(by) if by else _is_past_the_history(change, actual):
            groups.setdefault(id(by), (by, []))[1].append(change)
    name, revision = actual.gateway.name, actual.revision
    for by, fields in groups.values():
        reason = "changed on the platform" if by else "changed past the platform's own history"
        yield Drift(name, Kind.CHANGED, reason, revision, tuple(fields), by)


def _switched(
    desired: DesiredGateway, actual: ActualGateway, told: Told, ours: Ours
) -> Iterator[Drift]:
    """Off where it is declared on, or the other way round, with the field `state` as declared."""
    wanted, status = desired.gateway.state, actual.status
    if actual.gateway.state is not wanted or not _is_switched(desired, actual):
        return
    name, revision = actual.gateway.name, actual.revision
    if wanted is State.DISCONNECTED:
        by = _last(told, lambda one: one.action == Action.REBUILD)
        reason = "declared disconnected, and was connected by hand"
        yield Drift(name, Kind.CONNECTED, reason, revision, by=by)
        return
    by = _last(told, lambda one: one.action == Action.DISCONNECT)
    if by is None and status.actor:
        by = Happening(status.since, status.actor, Action.DISCONNECT)
    if status.cause is Cause.BY_HAND:
        yield Drift(name, Kind.DISCONNECTED, "disconnected by hand", revision, by=by)
    elif not _explained(by, ours):
        reason = f"disconnected as {status.cause}" if status.cause else "disconnected"
        yield Drift(name, Kind.DISCONNECTED, reason, revision, by=by)


def _writer(change: FieldChange | SecretChange, told: Told) -> Happening | None:
    """Who wrote what the platform has; None if its history does not say."""
    by = _last(told, lambda one: any(field.field == change.field for field in one.changes))
    if by is None or isinstance(change, SecretChange):
        return by
    written = next(one for one in by.changes if one.field == change.field)
    return by if isinstance(written, FieldChange) and written.after == change.after else None


def _is_past_the_history(change: FieldChange | SecretChange, actual: ActualGateway) -> bool:
    applied = actual.applied
    if applied is None or isinstance(change, SecretChange):
        return False
    return applied.fields()[change.field] != change.after


def _is_owner(change: FieldChange | SecretChange, owner: str) -> bool:
    return isinstance(change, FieldChange) and (change.field, change.before) == ("owner", owner)


def _is_off(actual: ActualGateway) -> bool:
    return actual.status.state is StatusState.DISCONNECTED


def _explained(by: Happening | None, ours: Ours) -> bool:
    return by is not None and ours(by)


def _last(told: Iterable[Happening], fits: Callable[[Happening], bool]) -> Happening | None:
    return next((one for one in reversed(tuple(told)) if fits(one)), None)


# what a plan would do to the password, as what was done to it
_AS_ON_THE_PLATFORM: Final[Mapping[SecretState, SecretState]] = {
    SecretState.ROTATED: SecretState.ROTATED,
    SecretState.SET: SecretState.CLEARED,
    SecretState.CLEARED: SecretState.SET,
}
