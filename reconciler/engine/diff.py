"""Desired and actual to changes. Pure: it says what differs, and nothing about what is allowed."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.model import (
    AT_BASE,
    CONNECTION_FIELDS,
    PASSWORD_FIELD,
    Action,
    ActualGateway,
    Cause,
    Change,
    DesiredGateway,
    FieldChange,
    Gateway,
    SecretChange,
    SecretState,
    State,
    Status,
    StatusState,
    WhenFailed,
)


@dataclass(frozen=True, slots=True)
class Ours:
    """Whose gateways may be changed: those of `owner`, and those that are to be taken over.

    `told` says that the platform knows only what it was told: a gateway of which it does not know
    may be taken over too, and one that is connecting is one that nobody has looked at.
    """

    owner: str
    adopting: frozenset[str] = frozenset()
    told: bool = False


FieldChanges = tuple[FieldChange | SecretChange, ...]
Remedy = tuple[Action, str]
"""What brings a session to where it should be, and the reason."""

# an edit in which the platform is sent the password again
SENT = frozenset({SecretState.ROTATED, SecretState.SET, SecretState.CLEARED})


def diff(
    desired: Sequence[DesiredGateway],
    actual: Mapping[str, ActualGateway],
    ours: Ours,
    *,
    supervised: bool,
) -> tuple[Change, ...]:
    """The changes that turn `actual` into `desired`, sorted by gateway.

    `actual` holds those gateways of the snapshot that are to be looked at; one of ours that is
    among them and not desired is disconnected. `supervised` says whether something keeps sessions
    between commands.
    """
    wanted = {one.gateway.name: one for one in desired}
    changes: list[Change] = []
    for name in sorted(wanted.keys() | actual.keys()):
        change = _difference(wanted.get(name), actual.get(name), ours, supervised=supervised)
        if change:
            changes.append(change)
    return tuple(changes)


def only_adopted(changes: Sequence[Change], names: Collection[str]) -> tuple[Change, ...]:
    """The takeovers among `changes`, of those that are named."""
    return tuple(
        change for change in changes if change.action is Action.ADOPT and change.gateway in names
    )


def drift(
    actual: Sequence[ActualGateway], owner: str, wanted: Mapping[str, DesiredGateway]
) -> tuple[Change, ...]:
    """What differs on the platform from what was last applied, whoever changed it.

    What is declared by now as it was changed is none any longer.
    """
    found = []
    for one in actual:
        if one.owner != owner or one.applied is None or one.applied == one.gateway:
            continue
        desired = wanted.get(one.gateway.name)
        declared = desired.gateway.fields() if desired else {}
        fields = tuple(
            change
            for change in field_changes(one.applied, one.gateway)
            if change.field not in declared or declared[change.field] != change.after
        )
        if fields:
            found.append(
                Change(
                    one.gateway.name,
                    Action.EDIT,
                    "changed on the platform since it was last applied",
                    fields,
                    revision=one.revision,
                )
            )
    return tuple(found)


def _difference(
    desired: DesiredGateway | None, actual: ActualGateway | None, ours: Ours, *, supervised: bool
) -> Change | None:
    if desired is None:
        return _undeclared(actual, ours) if actual else None
    if actual is None:
        return _adopt_untold(desired) if _is_untold(desired, ours) else _create(desired)
    fields = _declared_fields(desired, actual)
    if actual.owner != ours.owner:
        return _not_ours(desired, actual, fields, ours)
    if fields and not _is_only_disconnect(desired, fields):
        return _edit(desired, actual, fields, told=ours.told)
    return _session_change(desired, actual, fields, supervised=supervised)


def _declared_fields(desired: DesiredGateway, actual: ActualGateway) -> FieldChanges:
    fields: FieldChanges = tuple(field_changes(actual.gateway, desired.gateway))
    secret = compare_password(desired, actual)
    other = desired.fingerprint is not None or desired.since_base is SecretState.NOT_COMPARED
    if secret in SENT or (secret is SecretState.NOT_COMPARED and (fields or other)):
        # A fingerprint made with another key says nothing: the value is sent again, and its new
        # fingerprint can be compared from then on. With no key at hand there is nothing to send,
        # but a change that is made anyway may carry a new password, and so may another secret's
        # name.
        fields = (*fields, SecretChange(PASSWORD_FIELD, secret))
    return fields


def compare_password(desired: DesiredGateway, actual: ActualGateway) -> SecretState:
    """What is known of the password, without ever comparing values."""
    if desired.secret is None:
        return SecretState.CLEARED if actual.has_password else SecretState.UNCHANGED
    if not actual.has_password:
        return SecretState.SET
    ours, theirs = desired.fingerprint, actual.fingerprint
    if ours is None and theirs == AT_BASE:
        return desired.since_base or SecretState.NOT_COMPARED
    if ours is None and desired.since_base is SecretState.ROTATED:
        return SecretState.ROTATED
    if ours is None or theirs is None or ours.key_id != theirs.key_id:
        return SecretState.NOT_COMPARED
    return SecretState.UNCHANGED if ours == theirs else SecretState.ROTATED


def field_changes(before: Gateway, after: Gateway) -> Iterator[FieldChange]:
    """The declared fields in which two differ, but for the password."""
    if before == after:
        return
    old, new = before.fields(), after.fields()
    for name, value in new.items():
        # the types are compared too: to Python, True equals 1
        if old[name] != value or type(old[name]) is not type(value):
            yield FieldChange(name, old[name], value)


def _is_only_disconnect(desired: DesiredGateway, fields: FieldChanges) -> bool:
    return desired.gateway.state is State.DISCONNECTED and [one.field for one in fields] == [
        "state"
    ]


def _create(desired: DesiredGateway) -> Change:
    bare = Gateway(
        desired.gateway.name,
        desired.gateway.protocol_type,
        desired.gateway.host,
        desired.gateway.port,
    )
    defaults = bare.fields()
    always = ("protocol_type", "host", "port")
    fields: list[FieldChange | SecretChange] = [
        FieldChange(name, None, value)
        for name, value in desired.gateway.fields().items()
        if name in always or value != defaults[name]
    ]
    if desired.secret is not None:
        fields.append(SecretChange(PASSWORD_FIELD, SecretState.SET))
    reason = "not on the platform"
    if desired.gateway.state is State.DISCONNECTED:
        reason += "; declared disconnected, so no connection is made"
    return Change(desired.gateway.name, Action.CREATE, reason, tuple(fields), place=desired.place)


def _is_untold(desired: DesiredGateway, ours: Ours) -> bool:
    return ours.told and desired.gateway.name in ours.adopting


def _adopt_untold(desired: DesiredGateway) -> Change:
    reason = "to be taken over, as asked; until now nobody has told of it"
    return replace(_create(desired), action=Action.ADOPT, reason=reason)


def _not_ours(
    desired: DesiredGateway, actual: ActualGateway, fields: FieldChanges, ours: Ours
) -> Change:
    name = desired.gateway.name
    holder = f"belongs to {actual.owner!r}" if actual.owner else "was made by hand"
    change = Change(
        name,
        Action.ADOPT,
        f"on the platform already, and {holder}",
        fields,
        place=desired.place,
        revision=actual.revision,
    )
    if name in ours.adopting:
        return replace(change, reason=f"to be taken over, as asked; until now it {holder}")
    advice = f"not ours: it {holder}; take it over with: gateways adopt {name}"
    return replace(change, blocked_by=advice)


def _edit(
    desired: DesiredGateway, actual: ActualGateway, fields: FieldChanges, *, told: bool
) -> Change:
    connection = [one.field for one in fields if one.field in CONNECTION_FIELDS]
    reason = _what_differs(desired, fields)
    reconnects = False
    unseen = told and actual.status.state is StatusState.CONNECTING
    if desired.gateway.state is State.CONNECTED and (connection or not unseen):
        why = _why_reconnect(connection, actual.status, desired.gateway.when_failed)
        reconnects = bool(why)
        reason += f"; {why}" if why else ""
    return Change(
        desired.gateway.name,
        Action.EDIT,
        reason,
        fields,
        reconnects=reconnects,
        place=desired.place,
        revision=actual.revision,
    )


def _what_differs(desired: DesiredGateway, fields: FieldChanges) -> str:
    words = []
    secret = next((one for one in fields if isinstance(one, SecretChange)), None)
    by_value = [one.field for one in fields if one is not secret or _is_seen(desired, secret)]
    if by_value:
        words.append(f"{_listed(by_value)} {'differs' if len(by_value) == 1 else 'differ'}")
    if secret and desired.fingerprint is None and secret.secret is SecretState.ROTATED:
        words.append(f"{PASSWORD_FIELD} was set anew since the commit that this is compared with")
    elif secret and desired.since_base is SecretState.NOT_COMPARED:
        words.append(
            f"{PASSWORD_FIELD} cannot be compared, since at the commit that this is compared with "
            "it was not this secret"
        )
    elif not by_value:
        words.append(f"{PASSWORD_FIELD} cannot be compared, since its fingerprint has another key")
    return "; ".join(words)


def _is_seen(desired: DesiredGateway, secret: SecretChange) -> bool:
    """Whether it is known from the platform that the password differs."""
    if secret.secret is SecretState.NOT_COMPARED:
        return False
    return secret.secret is not SecretState.ROTATED or desired.fingerprint is not None


def _why_reconnect(connection: Sequence[str], status: Status, when_failed: WhenFailed) -> str:
    if status.state is StatusState.DISCONNECTED:
        return "the gateway is disconnected and will be connected again"
    if connection:
        return "the connection is made anew"
    if status.state is StatusState.FAILED and when_failed is not WhenFailed.REBUILD:
        return ""
    if status.state is not StatusState.SUCCEEDED:
        return "the connection is not up and is made anew"
    return ""


def _session_change(
    desired: DesiredGateway, actual: ActualGateway, fields: FieldChanges, *, supervised: bool
) -> Change | None:
    """The declared fields agree; what remains is whether the session is as it should be."""
    status = actual.status
    if desired.gateway.state is State.DISCONNECTED:
        if status.state is StatusState.DISCONNECTED and not fields:
            return None
        remedy: Remedy | None = (Action.DISCONNECT, "declared disconnected")
    else:
        fields = ()
        remedy = _remedy(status, desired.gateway.when_failed, supervised=supervised)
    if remedy is None:
        return None
    action, reason = remedy
    name, place = desired.gateway.name, desired.place
    return Change(name, action, reason, fields, place=place, revision=actual.revision)


def _remedy(status: Status, when_failed: WhenFailed, *, supervised: bool) -> Remedy | None:
    """What to do for a gateway that is declared connected, and why."""
    match status.state:
        case StatusState.FAILED:
            return _failed(when_failed, status)
        case StatusState.DISCONNECTED:
            return _disconnected(status)
        case StatusState.CONNECTING if not supervised:
            return Action.REBUILD, "no contact has been made yet"
        case _:
            return None


def _failed(when_failed: WhenFailed, status: Status) -> Remedy | None:
    kind = f" ({status.failure.kind})" if status.failure else ""
    reason = f"connection failed{kind}; when_failed is {when_failed}"
    match when_failed:
        case WhenFailed.REBUILD:
            return Action.REBUILD, reason
        case WhenFailed.DISCONNECT:
            return Action.DISCONNECT, reason
        case WhenFailed.IGNORE:
            return None


def _disconnected(status: Status) -> Remedy | None:
    if status.cause is Cause.WHEN_FAILED:
        return None  # stays so until a declared field or the secret changes
    if status.cause is Cause.BY_HAND:
        who = status.actor or "somebody"
        return Action.REBUILD, f"disconnected by hand by {who} at {status.since}"
    return Action.REBUILD, "disconnected, and declared connected"


def _undeclared(actual: ActualGateway, ours: Ours) -> Change | None:
    if actual.owner != ours.owner or actual.status.state is StatusState.DISCONNECTED:
        return None
    return Change(
        actual.gateway.name,
        Action.DISCONNECT,
        # where people carry it out, nothing erases what they typed
        "no longer declared"
        if ours.told
        else "no longer declared; its stored password and fingerprint are erased",
        counted=True,
        revision=actual.revision,
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
