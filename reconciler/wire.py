"""Gateways as JSON, between the service and its clients. Pure, and the same on both sides.

A certificate travels once, by its digest; a password goes in and never comes out.
"""

from collections.abc import Mapping
from typing import Any

from reconciler.model import (
    CERTIFICATE_FIELD,
    Actor,
    ActualGateway,
    DesiredGateway,
    Gateway,
    Status,
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


def actor_data(actor: Actor) -> Json:
    return {"name": actor.name, "commit": actor.commit, "run": actor.run}
