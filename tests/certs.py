"""Certificates for tests, made on the spot: authorities, servers, and everything wrong with them.

Whatever is not asked to be wrong passes VERIFY_X509_STRICT.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

START: Final = datetime(2020, 1, 1, tzinfo=UTC)
END: Final = datetime(2120, 1, 1, tzinfo=UTC)

RSA_WITH: Final = bytes.fromhex("06092a864886f70d0101")
OLD_ALGORITHMS: Final = {"md5": b"\x04", "sha1": b"\x05"}

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self._key(serialization.Encoding.PEM)

    @property
    def key_der(self) -> bytes:
        return self._key(serialization.Encoding.DER)

    def _key(self, encoding: serialization.Encoding) -> bytes:
        return self.key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def strong_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def small_key() -> Key:
    """RSA with 1024 bits, which TLS libraries refuse."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  on purpose


def ca(
    name: str = "Test Root",
    *,
    issuer: Issued | None = None,
    start: datetime = START,
    end: datetime = END,
    key: Key | None = None,
) -> Issued:
    """A root or, with an issuer, an intermediate authority."""
    key = key or strong_key()
    builder = (
        _builder(name, issuer, key, start, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return _sign(builder, issuer, key)


def leaf(  # noqa: PLR0913  everything about a certificate can be wrong
    issuer: Issued | None,
    names: Sequence[str] = ("mail.example.com",),
    ips: Sequence[str] = (),
    *,
    common_name: str = "mail.example.com",
    start: datetime = START,
    end: datetime = END,
    key: Key | None = None,
) -> Issued:
    """A server's certificate, self-signed without an issuer; neither names nor ips: no list."""
    key = key or strong_key()
    builder = (
        _builder(common_name, issuer, key, start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    listed = [
        *map(x509.DNSName, names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in ips),
    ]
    if listed:
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    return _sign(builder, issuer, key)


def broken_signature(root_key: rsa.RSAPrivateKey, algorithm: str) -> bytes:
    """The DER of a leaf that says it was signed with sha1 or md5, which nothing here still does."""
    issued = leaf(ca(key=root_key))
    return issued.der.replace(RSA_WITH + b"\x0b", RSA_WITH + OLD_ALGORITHMS[algorithm])


def _builder(
    name: str, issuer: Issued | None, key: Key, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )


def _sign(builder: x509.CertificateBuilder, issuer: Issued | None, key: Key) -> Issued:
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
