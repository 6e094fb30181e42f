"""A plan's changes as steps in the vendor's console. Pure: it says what to do, and does nothing.

Menus, buttons, tabs and labels are those of the vendor's public pages, and where these are silent a
note says so: nothing is made up.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Final

from reconciler import schemas
from reconciler.engine.apply import STAGES, declared
from reconciler.model import (
    CERTIFICATE_FIELD,
    CONNECTION_FIELDS,
    PASSWORD_FIELD,
    Action,
    ActualGateway,
    Certificate,
    Change,
    ConsoleField,
    DesiredGateway,
    Gateway,
    Plan,
    Runbook,
    SecretChange,
    SecretState,
    State,
    Step,
)

GATEWAYS: Final = ("Configuration Center", "Access Configuration", "Gateway Configuration")
CERTIFICATES: Final = ("Managing Certificates",)
MONITORING: Final = ("Configuration Center", "System Management", "Gateway Monitoring")
BASIC: Final = "Basic Information"
ADDRESS: Final = "Gateway Address Interconnection Configuration"

NEW: Final = "New"
EDIT: Final = "Edit"
NEXT: Final = "Next"
SAVE: Final = "Save"
REBUILDING: Final = "Rebuilding"
DISCONNECTED: Final = "Disconnected"

_BASIC_FIELDS: Final = ("protocol_type",)
_ADDRESS_FIELDS: Final = (
    "host",
    "user_id",
    PASSWORD_FIELD,
    "default_email_address",
    "default_user_name",
    "authentication_flag",
    "encoding_mode",
    "port",
    "encryption_mode",
    CERTIFICATE_FIELD,
    "case_sensitivity",
)
_CONSOLE_FIELDS: Final = frozenset({*_BASIC_FIELDS, *_ADDRESS_FIELDS, "state"})
_DOCUMENTED_CERT_TYPES: Final = {".cer": "CER"}

_SAVING: Final = "The vendor's page does not say whether saving connects the gateway."
_PRESENT: Final = (
    "If the list has a gateway of this name already, leave here, and take it over with gateways "
    "adopt instead."
)
_WIZARD: Final = (
    f"{NEXT} leads here. If you left before {SAVE}, begin again with {NEW}, unless the list has "
    f"the gateway by now: then press {EDIT}."
)
_PROTOCOL: Final = (
    "The vendor's page does not say whether the protocol of a gateway can be changed later. If it "
    "cannot, skip this change: declare a gateway of another name, and this one disconnected."
)
_CLEARED: Final = (
    "The vendor's page does not say whether an empty field clears the password that is stored. To "
    "be sure, change the password at the mail server."
)
_KEPT: Final = (
    "The console keeps this gateway and the password that was typed last: no page describes how to "
    "remove either. If the mailbox is no longer used, change its password at the mail server."
)
_IMPORT: Final = (
    "What could be read of the vendor's page names no menu and no form: import the file under a "
    "name of your choice. Nothing to do if it was imported for another gateway before."
)


def runbooks(
    plan: Plan, desired: Mapping[str, DesiredGateway], actual: Mapping[str, ActualGateway]
) -> tuple[Runbook, ...]:
    """Every planned change as steps, in the order in which an apply carries changes out."""
    imported = _imported(actual)
    return tuple(
        runbook(change, desired.get(change.gateway), actual.get(change.gateway), imported)
        for stage in STAGES
        for change in plan.planned
        if change.action in stage
    )


def runbook(
    change: Change,
    desired: DesiredGateway | None,
    actual: ActualGateway | None,
    imported: frozenset[str] = frozenset(),
) -> Runbook:
    """One change as steps; `imported` are the digests of certificates that the console has."""
    steps = tuple(_steps(change, desired, actual, imported))
    recorded = () if change.action in {Action.REBUILD, Action.DISCONNECT} else _recorded(change)
    return Runbook(change, steps, recorded, _digest(change, steps, desired))


@cache
def labels() -> Mapping[str, str]:
    """The console's label of each key of a declaration, and of a gateway's `name`."""
    definitions = schemas.load("gateways")["$defs"]
    found = {key: one["title"] for key, one in definitions["fields"]["properties"].items()}
    return {**found, "name": definitions["name"]["title"]}


def _steps(
    change: Change,
    desired: DesiredGateway | None,
    actual: ActualGateway | None,
    imported: frozenset[str],
) -> Iterator[Step]:
    match change.action:
        case Action.DISCONNECT:
            yield _disconnect(change.gateway, (_KEPT,) if change.counted else ())
        case Action.REBUILD:
            yield _rebuild(change.gateway)
        case Action.CREATE:
            yield from _import(declared(change, desired).gateway.certificate, imported)
            yield from _create(declared(change, desired))
        case Action.EDIT:
            if any(one.field == CERTIFICATE_FIELD for one in change.fields):
                yield from _import(declared(change, desired).gateway.certificate, imported)
            yield from _edit(change, declared(change, desired), actual)
        case Action.ADOPT:
            yield from _adopt(declared(change, desired), actual.gateway if actual else None)


def _create(desired: DesiredGateway) -> Iterator[Step]:
    gateway = desired.gateway
    basic = (*_identity(gateway.name), *_all_fields(_BASIC_FIELDS, desired))
    yield Step("Create the gateway", GATEWAYS, "", NEW, BASIC, basic, NEXT, (_PRESENT,))
    address = _all_fields(_ADDRESS_FIELDS, desired)
    yield Step("Fill in its address", GATEWAYS, "", "", ADDRESS, address, SAVE, (_WIZARD,))
    if gateway.state is State.DISCONNECTED:
        yield _disconnect(gateway.name, (_SAVING,))
    else:
        yield _look(
            gateway.name, (f"{_SAVING} If it stays unconnected, press {REBUILDING} there.",)
        )


def _edit(change: Change, desired: DesiredGateway, actual: ActualGateway | None) -> Iterator[Step]:
    name, before = change.gateway, actual.gateway if actual else None
    changed = {one.field for one in change.fields}
    basic = _changed_fields(_BASIC_FIELDS, changed, desired, before)
    if basic:
        yield Step("Edit the gateway", GATEWAYS, name, EDIT, BASIC, basic, SAVE, (_PROTOCOL,))
    address = _changed_fields(_ADDRESS_FIELDS, changed, desired, before)
    if address:
        notes = (_CLEARED,) if _clears(change) else ()
        yield Step("Edit its address", GATEWAYS, name, EDIT, ADDRESS, address, SAVE, notes)
    if desired.gateway.state is State.CONNECTED:
        if change.reconnects:
            yield _rebuild(name)
    elif "state" in changed:
        yield _disconnect(name)
    elif changed & CONNECTION_FIELDS:
        yield _disconnect(name, (f"{_SAVING} Nothing to do if it is still disconnected.",))


def _adopt(desired: DesiredGateway, before: Gateway | None) -> Iterator[Step]:
    name = desired.gateway.name
    basic = (*_identity(name), *_all_fields(_BASIC_FIELDS, desired, before))
    note = "Check that the console holds this. Correct what differs, and save it."
    yield Step("Compare the gateway", GATEWAYS, name, EDIT, BASIC, basic, "", (note,))
    address = _all_fields(_ADDRESS_FIELDS, desired, before)
    notes = [note, f"If you correct anything but names, press {REBUILDING} in Gateway Monitoring."]
    if desired.gateway.certificate:
        notes.append("Which certificate the console means by a name, it alone can tell.")
    if desired.secret:
        notes.append("A password cannot be read back: type it unless you know which one is stored.")
    yield Step("Compare its address", GATEWAYS, name, EDIT, ADDRESS, address, "", tuple(notes))
    yield _disconnect(name) if desired.gateway.state is State.DISCONNECTED else _look(name)


def _import(certificate: Certificate | None, imported: frozenset[str]) -> Iterator[Step]:
    if certificate is None or certificate.digest in imported:
        return
    extension = PurePosixPath(certificate.file).suffix.lower()
    kind = _DOCUMENTED_CERT_TYPES.get(extension)
    fields = [ConsoleField(CERTIFICATE_FIELD, "file", certificate.file)]
    notes = [_IMPORT]
    if kind:
        fields.append(ConsoleField("cert_type", "Cert Type", kind))
    else:
        notes.append("Cert Type goes by the file's extension; CER for .cer alone is documented.")
    yield Step("Import the certificate", CERTIFICATES, fields=tuple(fields), notes=tuple(notes))


def _rebuild(name: str) -> Step:
    return Step("Make the connection anew", MONITORING, name, REBUILDING, looks=True)


def _disconnect(name: str, notes: tuple[str, ...] = ()) -> Step:
    return Step("Disconnect the gateway", MONITORING, name, DISCONNECTED, notes=notes)


def _look(name: str, notes: tuple[str, ...] = ()) -> Step:
    return Step("Look at its status", MONITORING, name, notes=notes, looks=True)


def _identity(name: str) -> tuple[ConsoleField, ...]:
    """What tells a gateway for mail from others in the same list."""
    return (
        ConsoleField("name", labels()["name"], name),
        ConsoleField("config_type", "Config Type", "Email"),
    )


def _all_fields(
    names: Sequence[str], desired: DesiredGateway, before: Gateway | None = None
) -> tuple[ConsoleField, ...]:
    """Every one of `names` that has a value; `before` is shown where it is another."""
    found = []
    for name in names:
        one = _field(name, desired, before)
        if one.secret or one.value or one.before is not None:
            found.append(one)
    return tuple(found)


def _changed_fields(
    names: Sequence[str], changed: set[str], desired: DesiredGateway, before: Gateway | None
) -> tuple[ConsoleField, ...]:
    return tuple(_field(name, desired, before) for name in names if name in changed)


def _field(name: str, desired: DesiredGateway, before: Gateway | None) -> ConsoleField:
    label = labels()[name]
    if name == PASSWORD_FIELD:
        return ConsoleField(name, label, "", secret=desired.secret)
    value = _value(name, desired.gateway)
    was = _value(name, before) if before else value
    return ConsoleField(name, label, value, was if was != value else None)


def _value(name: str, gateway: Gateway) -> str:
    """A field's value in the words of its page."""
    if name == CERTIFICATE_FIELD:
        anchor = gateway.certificate
        return f"{anchor.file} ({anchor.digest[:19]}...)" if anchor else ""
    value = gateway.fields()[name]
    if name == "case_sensitivity":
        return "sensitive" if value else "insensitive"
    if isinstance(value, bool):
        return "True" if value else "False"
    return "" if value is None else str(value)


def _clears(change: Change) -> bool:
    return any(
        isinstance(one, SecretChange) and one.secret is SecretState.CLEARED for one in change.fields
    )


def _recorded(change: Change) -> tuple[str, ...]:
    return tuple(one.field for one in change.fields if one.field not in _CONSOLE_FIELDS)


def _imported(actual: Mapping[str, ActualGateway]) -> frozenset[str]:
    anchors = (one.gateway.certificate for one in actual.values())
    return frozenset(anchor.digest for anchor in anchors if anchor)


def _digest(change: Change, steps: Sequence[Step], desired: DesiredGateway | None) -> str:
    """Of all that has an effect, the password by its fingerprint."""
    fingerprint = desired.fingerprint if desired else None
    data: list[Any] = [
        change.gateway,
        change.action.value,
        change.revision,
        [
            [one.field, one.secret.value]
            if isinstance(one, SecretChange)
            else [one.field, one.before, one.after]
            for one in change.fields
        ],
        [
            [one.title, one.button, [[two.field, two.value] for two in one.fields]]
            for one in steps
            # another gateway's change may have imported it since: this one is the same
            if one.menu != CERTIFICATES
        ],
        str(fingerprint) if fingerprint else None,
    ]
    text = json.dumps(data, sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
