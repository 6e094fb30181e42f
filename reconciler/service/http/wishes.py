"""Bodies that say what a gateway shall be: judged field by field, then read."""

import re
from functools import lru_cache
from typing import Any, Final

from reconciler import schemas
from reconciler.model import (
    CERTIFICATE_FIELD,
    PASSWORD_FIELD,
    Certificate,
    DesiredGateway,
    Fingerprint,
    Gateway,
    Place,
    Secret,
)
from reconciler.pem import ders_of, pem_of
from reconciler.service.http.contract import errors, invalid
from reconciler.service.http.problems import FieldError
from reconciler.service.http.wording import field_errors

# Nothing but certificates: whoever may read gateways may read this, and a key beside one is a slip.
_PEM: Final = re.compile(
    r"(?:\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----)+\s*"
)


def desired_of(body: Any, name: str) -> DesiredGateway:
    """What a body asks the gateway of the path to be.

    Raises:
        Problem: a field is wrong; it names every such field, and quotes no value.

    """
    found = errors("GatewayWrite", body)
    gateway = body.get("gateway") if isinstance(body, dict) else None
    if isinstance(gateway, dict):
        found += _by_the_rules(gateway)
        if not found:
            found += _together(body, name)
    if found:
        raise invalid(list({one.field: one for one in reversed(found)}.values())[::-1])
    fields, password = body["gateway"], body["password"]
    named, value, mark = (
        fields.get(CERTIFICATE_FIELD),
        password.get("value"),
        password.get("fingerprint"),
    )
    pem = _canonical(body["certificates"][named["digest"]]) if named else ""
    certificate = Certificate(named["file"], pem) if pem else None
    return DesiredGateway(
        Gateway.of(name, fields, certificate),
        _nowhere,
        password=None if value is None else Secret(value),
        fingerprint=Fingerprint.parse(mark) if mark else None,
        password_known=password["known"],
    )


def _by_the_rules(gateway: dict[str, Any]) -> list[FieldError]:
    """By the rules of declarations, which are the vendor's.

    Whether a password is there is not asked: without one the gateway's status says so.
    """
    fields = {key: value for key, value in gateway.items() if value is not None and key != "name"}
    named = fields.get(CERTIFICATE_FIELD)
    if isinstance(named, dict):
        fields[CERTIFICATE_FIELD] = named.get("file")
    complete = {**fields, PASSWORD_FIELD: {"secret": "given"}}
    if schemas.gate("gateways", "gateway")(complete):
        return []
    return field_errors(schemas.errors("gateways", "gateway", complete), "gateway")


def _together(body: dict[str, Any], name: str) -> list[FieldError]:
    """What no field is to blame for alone."""
    found = []
    gateway, pems, password = body["gateway"], body["certificates"], body["password"]
    if gateway["name"] != name:
        found.append(FieldError("gateway.name", "is not the name in the path"))
    named = gateway.get(CERTIFICATE_FIELD)
    wanted = {named["digest"]} if named else set()
    if set(pems) != wanted:
        found.append(FieldError("certificates", "must hold the gateway's certificate and no other"))
    for digest, pem in pems.items():
        if Certificate("", pem).digest != digest:
            found.append(FieldError("certificates", "holds one that has another digest"))
        elif not _canonical(pem):
            found.append(FieldError("certificates", "holds what is no certificate in PEM"))
    value = password.get("value")
    if not password["known"] and value is not None:
        found.append(FieldError("password.known", "must be true where there is a value"))
    if value is None and password.get("fingerprint"):
        found.append(FieldError("password.fingerprint", "is of no password"))
    return found


@lru_cache(maxsize=256)
def _canonical(pem: str) -> str:
    """The same certificates as a declaration of them has them; nothing where there are none.

    Remembered, since thousands of gateways share one certificate.
    """
    from cryptography import x509  # noqa: PLC0415 - most requests need none of it

    if not _PEM.fullmatch(pem):
        return ""
    try:
        ders = ders_of(pem.encode())
        for der in ders:
            x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        return ""
    return pem_of(ders)


def _nowhere() -> Place:
    """What came over the network stands in no file that is here."""
    return Place("")
