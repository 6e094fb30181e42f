"""What a write to a record changed, and what is kept of it. Pure."""

from reconciler.model import (
    CONNECTION_FIELDS,
    PASSWORD_FIELD,
    ActualGateway,
    DesiredGateway,
    FieldChange,
    Happening,
    SecretChange,
    SecretState,
    Tick,
)
from reconciler.platforms import HISTORY_KEPT

FieldChanges = tuple[FieldChange | SecretChange, ...]


def connects_anew(actual: ActualGateway, desired: DesiredGateway) -> bool:
    before, after = actual.gateway.fields(), desired.gateway.fields()
    if any(before[name] != after[name] for name in CONNECTION_FIELDS - {PASSWORD_FIELD}):
        return True
    return desired.password_known and actual.fingerprint != desired.fingerprint


def changes_between(before: ActualGateway | None, after: ActualGateway) -> FieldChanges:
    """The fields that a write changed; for one that is new, those that are set."""
    old = before.gateway.fields() if before else {}
    changes: list[FieldChange | SecretChange] = [
        FieldChange(name, old.get(name), value)
        for name, value in after.gateway.fields().items()
        if old.get(name) != value or type(old.get(name)) is not type(value)
    ]
    if before and before.owner != after.owner:
        changes.append(FieldChange("owner", before.owner, after.owner))
    word = _password(before, after)
    if word is not SecretState.UNCHANGED:
        changes.append(SecretChange(PASSWORD_FIELD, word))
    return tuple(changes)


def _password(before: ActualGateway | None, after: ActualGateway) -> SecretState:
    had = before is not None and before.has_password
    if not after.has_password:
        return SecretState.CLEARED if had else SecretState.UNCHANGED
    if before is None or not had:
        return SecretState.SET
    same = before.fingerprint == after.fingerprint
    return SecretState.UNCHANGED if same else SecretState.ROTATED


def happening(tick: Tick, changes: FieldChanges) -> Happening:
    return Happening(tick.at, tick.actor, tick.action.value, tick.commit, tick.run, changes)


def kept(ticks: tuple[Tick, ...], name: str) -> tuple[Tick, ...]:
    """All but those of the gateway `name` before what history tells of it: git has them."""
    done = [
        number
        for number, one in enumerate(ticks)
        if one.gateway == name and one.changes is not None
    ]
    if len(done) <= HISTORY_KEPT:
        return ticks
    first = done[-HISTORY_KEPT - 1]
    return tuple(one for number, one in enumerate(ticks) if one.gateway != name or number > first)
