"""Gateways as JSON, between the service and its clients. Pure, and the same on both sides.

A certificate travels once, by its digest; a password goes in and never comes out.
"""

from collections.abc import Mapping
from types import NoneType
from typing import Any, Final

from reconciler.model import (
    CERTIFICATE_FIELD,
    Actor,
    ActualGateway,
    Cause,
    Certificate,
    DesiredGateway,
    Failure,
    FailureKind,
    Fingerprint,
    Gateway,
    Place,
    Secret,
    Status,
    StatusState,
)

Json = dict[str, Any]


def gateway_data(gateway: Gateway) -> Json:
    """Every declared field but the password; the certificate by its file's name and digest."""
    data: Json = {"name": gateway.name, **gateway.fields()}
    certificate = gateway.certificate
    data[CERTIFICATE_FIELD] = (
        {"file": certificate.file, "digest": certificate.digest} if certificate else None
    )
    return data


def gateway_from(data: Mapping[str, Any], pems: Mapping[str, str]) -> Gateway:
    """Read what `gateway_data` wrote; `pems` holds the certificates by their digests.

    Raises:
        LookupError, TypeError, ValueError: it is not what `gateway_data` writes.

    """
    for key, kinds in _GATEWAY:
        if type(data[key]) not in kinds:
            raise TypeError(key)
    named = data[CERTIFICATE_FIELD]
    certificate = _certificate_from(named, pems) if named else None
    if data["labels"]:
        _expect_texts(data["labels"])
    return Gateway.of(data["name"], data, certificate)


def desired_data(desired: DesiredGateway) -> Json:
    """A gateway as a write wants it, with its password: for the body of a request and no log."""
    certificate = desired.gateway.certificate
    return {
        "gateway": gateway_data(desired.gateway),
        "certificates": {certificate.digest: certificate.pem} if certificate else {},
        "password": {
            "known": desired.password_known,
            "value": desired.password.reveal() if desired.password else None,
            "fingerprint": str(desired.fingerprint) if desired.fingerprint else None,
            "ciphertext": desired.ciphertext,
        },
    }


def desired_from(data: Mapping[str, Any]) -> DesiredGateway:
    """Read what `desired_data` wrote.

    Raises:
        LookupError, TypeError, ValueError: it is not what `desired_data` writes.

    """
    password = data["password"]
    value, fingerprint = _text_or_none(password["value"]), _text_or_none(password["fingerprint"])
    return DesiredGateway(
        gateway_from(data["gateway"], data["certificates"]),
        _nowhere,
        ciphertext=_text_or_none(password["ciphertext"]),
        password=None if value is None else Secret(value),
        fingerprint=Fingerprint.parse(fingerprint) if fingerprint else None,
        password_known=_flag(password["known"]),
    )


def actual_data(actual: ActualGateway) -> Json:
    """A gateway as the platform has it. `applied` stands only where it differs."""
    data: Json = {
        "gateway": gateway_data(actual.gateway),
        "status": status_data(actual.status),
        "revision": actual.revision,
        "owner": actual.owner,
        "fingerprint": str(actual.fingerprint) if actual.fingerprint else None,
        "has_password": actual.has_password,
    }
    if actual.applied != actual.gateway:
        data["applied"] = gateway_data(actual.applied) if actual.applied else None
    return data


def actual_from(data: Mapping[str, Any], pems: Mapping[str, str]) -> ActualGateway:
    """Read what `actual_data` wrote.

    Raises:
        LookupError, TypeError, ValueError: it is not what `actual_data` writes.

    """
    gateway = gateway_from(data["gateway"], pems)
    applied: Gateway | None = gateway
    if "applied" in data:
        applied = gateway_from(data["applied"], pems) if data["applied"] else None
    fingerprint = _text_or_none(data["fingerprint"])
    return ActualGateway(
        gateway,
        status_from(data["status"]),
        _text(data["revision"]),
        _text_or_none(data["owner"]),
        Fingerprint.parse(fingerprint) if fingerprint else None,
        _flag(data["has_password"]),
        applied,
    )


def certificates_of(actual: ActualGateway) -> Mapping[str, str]:
    """The certificates that a gateway's data refers to, by their digests."""
    gateways = (actual.gateway, actual.applied)
    found = [one.certificate for one in gateways if one and one.certificate]
    return {certificate.digest: certificate.pem for certificate in found}


def status_data(status: Status) -> Json:
    failure = status.failure
    return {
        "state": status.state.value,
        "since": status.since,
        "checked_at": status.checked_at,
        "failure": {
            "kind": failure.kind.value,
            "field": failure.field,
            "message": failure.message,
            "hint": failure.hint,
        }
        if failure
        else None,
        "cause": status.cause.value if status.cause else None,
        "actor": status.actor,
    }


def status_from(data: Mapping[str, Any]) -> Status:
    failure, cause = data["failure"], data["cause"]
    return Status(
        StatusState(data["state"]),
        _text(data["since"]),
        _text(data["checked_at"]),
        _failure_from(failure) if failure else None,
        Cause(cause) if cause else None,
        _text(data["actor"]),
    )


def _failure_from(data: Mapping[str, Any]) -> Failure:
    return Failure(
        FailureKind(data["kind"]),
        _text_or_none(data["field"]),
        _text(data["message"]),
        _text(data["hint"]),
    )


def actor_data(actor: Actor) -> Json:
    return {"name": actor.name, "commit": actor.commit, "run": actor.run}


def actor_from(data: Mapping[str, Any]) -> Actor:
    return Actor(_text(data["name"]), _text_or_none(data["commit"]), _text(data["run"]))


def _certificate_from(data: Mapping[str, Any], pems: Mapping[str, str]) -> Certificate:
    certificate = Certificate(_text(data["file"]), _text(pems[data["digest"]]))
    if certificate.digest != data["digest"]:
        raise ValueError("a certificate of another digest")
    return certificate


def _expect_texts(data: Mapping[Any, Any]) -> None:
    for one in (*data, *data.values()):
        _text(one)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(type(value))
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(type(value))
    return value


# what a value of JSON may be: looked up for every field, so that neither side ever has to wonder
_TEXT: Final = frozenset({str})
_TEXT_OR_NONE: Final = frozenset({str, NoneType})
_FLAG: Final = frozenset({bool})
_MAP: Final = frozenset({dict})
_GATEWAY: Final = (
    ("name", _TEXT),
    ("protocol_type", _TEXT),
    ("host", _TEXT),
    ("port", frozenset({int})),
    ("user_id", _TEXT_OR_NONE),
    ("default_email_address", _TEXT_OR_NONE),
    ("default_user_name", _TEXT_OR_NONE),
    ("authentication_flag", _FLAG),
    ("encoding_mode", _TEXT),
    ("encryption_mode", _TEXT),
    (CERTIFICATE_FIELD, frozenset({dict, NoneType})),
    ("case_sensitivity", _FLAG),
    ("receive_from", _TEXT),
    ("state", _TEXT),
    ("when_failed", _TEXT),
    ("protect", _FLAG),
    ("labels", _MAP),
)


def _nowhere() -> Place:
    """A gateway that came over the network stands in no file that is here."""
    return Place("")
