"""Reading gateways as JSON: strictly, since neither side trusts what the other sends.

Whatever is not as `wire` writes it raises LookupError, TypeError or ValueError.
"""

from collections.abc import Mapping
from itertools import product
from operator import itemgetter
from types import NoneType
from typing import Any, Final, cast

from reconciler.by_value import (
    CAUSES,
    ENCRYPTIONS,
    KINDS,
    PROTOCOLS,
    RECEIVE,
    STATES,
    STATUSES,
    WHEN_FAILED,
)
from reconciler.model import (
    Actor,
    ActualGateway,
    Certificate,
    Failure,
    FieldChange,
    Fingerprint,
    Gateway,
    Happening,
    SecretChange,
    SecretState,
    Status,
    Value,
)


def actor_from(data: Mapping[str, Any]) -> Actor:
    return Actor(_text(data["name"]), _text_or_none(data["commit"]), _text(data["run"]))


def happening_from(data: Mapping[str, Any]) -> Happening:
    """Read an entry of the audit trail.

    What it says of a change beside its fields, such as the cause of a disconnect, is left out.
    """
    at, actor, action, commit, run, token, changes = _HAPPENING.of(data)
    fields = tuple(_change(one) for one in changes if "field" in one)
    return Happening(at, actor, action, commit, run, fields, token)


def _change(data: Mapping[str, Any]) -> FieldChange | SecretChange:
    name = _text(data["field"])
    if "secret" in data:
        return SecretChange(name, SecretState(data["secret"]))
    return FieldChange(name, _value(data["before"]), _value(data["after"]))


def _value(value: Any) -> Value:
    if isinstance(value, dict):
        return {_text(name): _text(inner) for name, inner in value.items()}
    if value is not None and type(value) not in {str, int, bool}:
        raise TypeError(type(value))
    return cast(Value, value)


class Reader:
    """Reads gateways of one answer, and shares what they have in common.

    `pems` holds the certificates of the answer by their digests.
    """

    def __init__(self, pems: Mapping[str, str]) -> None:
        self._pems = pems
        self._certificates: dict[tuple[str, str], Certificate] = {}
        self._strings: dict[str | None, str | None] = {}

    def actual(self, data: Mapping[str, Any]) -> ActualGateway:
        """Read what `actual_data` wrote."""
        gateway = self._gateway(data["gateway"])
        applied: Gateway | None = gateway
        if "applied" in data:
            applied = None if data["applied"] is None else self._gateway(data["applied"])
        revision, owner, fingerprint, has_password = _ACTUAL.of(data)
        return ActualGateway(
            gateway,
            self._status(data["status"]),
            revision,
            self._shared(owner),
            None if fingerprint is None else Fingerprint.parse(fingerprint),
            has_password,
            applied,
        )

    def _gateway(self, data: Mapping[str, Any]) -> Gateway:
        """Read what `gateway_data` wrote, which is normalised."""
        share = self._shared
        (
            name,
            protocol_type,
            host,
            port,
            user_id,
            address,
            user_name,
            authentication_flag,
            encoding_mode,
            encryption_mode,
            certificate,
            case_sensitivity,
            receive_from,
            state,
            when_failed,
            protect,
            labels,
        ) = _GATEWAY.of(data)
        return Gateway(
            name,
            PROTOCOLS[protocol_type],
            share(host),
            port,
            share(user_id),
            share(address),
            share(user_name),
            authentication_flag,
            share(encoding_mode),
            ENCRYPTIONS[encryption_mode],
            None if certificate is None else self._certificate(certificate),
            case_sensitivity,
            RECEIVE[receive_from],
            STATES[state],
            WHEN_FAILED[when_failed],
            protect,
            self._labels(labels) if labels else (),
        )

    def _status(self, data: Mapping[str, Any]) -> Status:
        share = self._shared
        state, since, checked_at, failure, cause, actor = _STATUS.of(data)
        return Status(
            STATUSES[state],
            share(since),
            share(checked_at),
            None if failure is None else self._failure(failure),
            None if cause is None else CAUSES[cause],
            share(actor),
        )

    def _failure(self, data: Mapping[str, Any]) -> Failure:
        kind, field, message, hint = _FAILURE.of(data)
        share = self._shared
        return Failure(KINDS[kind], share(field), share(message), share(hint))

    def _certificate(self, data: Mapping[str, Any]) -> Certificate:
        file, digest = _CERTIFICATE.of(data)
        found = self._certificates.get((file, digest))
        if found is None:
            found = Certificate(file, _text(self._pems[digest]))
            if found.digest != digest:
                raise ValueError("a certificate of another digest")
            self._certificates[file, digest] = found
        return found

    def _labels(self, data: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
        share = self._shared
        return tuple(sorted((share(_text(name)), share(_text(data[name]))) for name in data))

    def _shared(self, text: Any) -> Any:
        """The same text as before: thousands of gateways have hosts, times and names in common."""
        return self._strings.setdefault(text, text)


class _Shape:
    """The members of a JSON object that are read, and what each may be."""

    def __init__(self, **members: tuple[type, ...]) -> None:
        self._values = itemgetter(*members)
        self._types = frozenset(product(*members.values()))

    def of(self, data: Mapping[str, Any]) -> tuple[Any, ...]:
        """Their values, in order. Raises LookupError or TypeError."""
        values: tuple[Any, ...] = self._values(data)
        types = tuple(map(type, values))
        if types not in self._types:
            raise TypeError(types)
        return values


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(type(value))
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


_TEXT: Final = (str,)
_MAYBE: Final = (str, NoneType)
_FLAG: Final = (bool,)

_GATEWAY: Final = _Shape(
    name=_TEXT,
    protocol_type=_TEXT,
    host=_TEXT,
    port=(int,),
    user_id=_MAYBE,
    default_email_address=_MAYBE,
    default_user_name=_MAYBE,
    authentication_flag=_FLAG,
    encoding_mode=_TEXT,
    encryption_mode=_TEXT,
    certificate_file=(dict, NoneType),
    case_sensitivity=_FLAG,
    receive_from=_TEXT,
    state=_TEXT,
    when_failed=_TEXT,
    protect=_FLAG,
    labels=(dict,),
)
_ACTUAL: Final = _Shape(revision=_TEXT, owner=_MAYBE, fingerprint=_MAYBE, has_password=_FLAG)
_STATUS: Final = _Shape(
    state=_TEXT,
    since=_TEXT,
    checked_at=_TEXT,
    failure=(dict, NoneType),
    cause=_MAYBE,
    actor=_TEXT,
)
_FAILURE: Final = _Shape(kind=_TEXT, field=_MAYBE, message=_TEXT, hint=_TEXT)
_CERTIFICATE: Final = _Shape(file=_TEXT, digest=_TEXT)

_HAPPENING: Final = _Shape(
    at=_TEXT,
    actor=_TEXT,
    action=_TEXT,
    commit=_MAYBE,
    run=_TEXT,
    token=_TEXT,
    changes=(list,),
)
