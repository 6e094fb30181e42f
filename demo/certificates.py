"""A throw-away certificate authority and server certificates, good ones and broken ones.

They carry the key usages and key identifiers that `ssl.VERIFY_X509_STRICT` asks for (RFC 5280,
4.2.1), so that a client which is strict, as Python 3.13 is, accepts the good one and only that.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS: Final = 365
_CLOCK_SKEW: Final = timedelta(hours=1)


class Variant(StrEnum):
    """Which certificate a server shows: the good one, or one with a single fault."""

    GOOD = "good"
    EXPIRED = "expired"
    OTHER_CA = "other-ca"
    WRONG_NAME = "wrong-name"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, both as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A certificate authority that lives in memory for as long as it is held."""

    def __init__(self, name: str = "Demo CA", *, now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begin, end = self._now - _CLOCK_SKEW, self._now + timedelta(days=10 * _DAYS)
        public_key = self._key.public_key()
        builder = _builder(self._name, self._name, public_key, begin, end)
        self._certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(_identifies(public_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: Sequence[str], *, expired: bool = False) -> Issued:
        """A server certificate for host names and IP addresses.

        It is valid from an hour ago for a year; `expired` makes one that ended yesterday.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        public_key = key.public_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        begin, end = self._now - _CLOCK_SKEW, self._now + timedelta(days=_DAYS)
        if expired:
            begin, end = self._now - timedelta(days=30), self._now - timedelta(days=1)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        issuer_key = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = (
            _builder(subject, self._name, public_key, begin, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
            .add_extension(_identifies(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Issued(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )


def write_all(directory: Path, names: Sequence[str]) -> None:
    """Write `ca.pem`, and for each variant `<variant>.pem` with certificate and key (mode 0600).

    Does nothing where `ca.pem` is already there, so that a restarted server is the same server.
    """
    anchor = directory / "ca.pem"
    if anchor.exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    authority = Authority()
    variants = {
        Variant.GOOD: authority.issue(names),
        Variant.EXPIRED: authority.issue(names, expired=True),
        Variant.OTHER_CA: Authority("Another CA").issue(names),
        Variant.WRONG_NAME: authority.issue(["elsewhere.invalid"]),
    }
    for variant, issued in variants.items():
        _write_private(directory / f"{variant}.pem", issued.certificate + issued.key)
    anchor.write_bytes(authority.pem)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _identifies(public_key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(public_key)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
