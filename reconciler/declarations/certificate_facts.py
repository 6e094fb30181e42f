"""What a certificate says of itself, as far as a rule needs it. No file is opened here."""

import re
import warnings
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from reconciler.pem import ders_of

if TYPE_CHECKING:
    from cryptography import x509

Address = IPv4Address | IPv6Address

SMALLEST_RSA_KEY: Final = 2048
SMALLEST_CURVE: Final = 224
BROKEN_HASHES: Final = {"md5": "MD5", "sha1": "SHA-1"}

PRIVATE_KEY: Final = re.compile(
    rb"BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY|PuTTY-User-Key-File|AGE-SECRET-KEY-"
)
_BEGIN: Final = b"-----BEGIN "
_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_IDENTIFIER: Final = 0x06
_STORE_VERSION: Final = 3


class NotACertificate(Exception):
    """The bytes are something else: `slug`, a message about the file, and a hint."""

    def __init__(self, slug: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.slug = slug
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """One certificate. Times are UTC; `weakness` says what a strict TLS library would refuse.

    `authority` says that it may sign others; `self_issued` that subject and issuer are the same.
    `names` are lower-case host names, which may be wildcards; `addresses` are IP addresses.
    """

    not_before: datetime
    not_after: datetime
    authority: bool
    self_issued: bool
    names: tuple[str, ...]
    addresses: tuple[Address, ...]
    weakness: str | None = None


def split(content: bytes) -> tuple[tuple[bytes, ...], bool]:
    """The DER of each certificate in a file, in order, and whether the file itself is DER.

    Raises:
        NotACertificate: a private key is among the content, or no certificate is.

    """
    if PRIVATE_KEY.search(content):
        raise _private_key()
    if _BEGIN in content:
        return _from_pem(content), False
    if content[:1] == bytes([_SEQUENCE]):
        return (_from_der(content),), True
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _unreadable("is UTF-16 text", "save it as plain ASCII text")
    raise _unreadable("is neither PEM nor DER", "export it again, as Base64 (PEM) or as binary DER")


@lru_cache(maxsize=256)  # thousands of gateways share one file
def expires(pem: str) -> datetime | None:
    """When the first certificate of a trust anchor expires; None if it cannot be read."""
    try:
        return min(facts_of(der).not_after for der in split(pem.encode())[0])
    except NotACertificate:
        return None


def facts_of(der: bytes) -> CertificateFacts:
    """Read one certificate.

    Raises:
        NotACertificate: cryptography cannot make sense of it.

    """
    # 20 ms at start-up that a project without certificate files need not pay
    from cryptography import x509  # noqa: PLC0415
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # serial numbers of old roots are not ours to judge
            return _facts(x509.load_der_x509_certificate(der))
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        # the library's own text may quote what stands in the file
        raise _unreadable("holds a damaged certificate", "export the certificate again") from None


def _from_pem(content: bytes) -> tuple[bytes, ...]:
    try:
        ders = ders_of(content)
    except ValueError:
        raise _unreadable("holds a damaged certificate", "export the certificate again") from None
    if not ders:
        raise _unreadable(*_what_pem_holds(content))
    return ders


def _what_pem_holds(content: bytes) -> tuple[str, str]:
    for label, message, hint in (
        (
            b"TRUSTED CERTIFICATE",
            "holds a certificate in OpenSSL's own trusted form",
            "write it plainly: openssl x509 -in FILE -out NEW.pem",
        ),
        (b"REQUEST", "holds a certificate request", "use the certificate that came of it"),
        (b"PKCS7", "holds a PKCS#7 bundle", "convert it: openssl pkcs7 -print_certs"),
        (b"PUBLIC KEY", "holds a public key alone", "use the server's root certificate"),
        (b"CRL", "holds a revocation list", "use the server's root certificate"),
        (b"CERTIFICATE-----", "holds a damaged certificate", "export the certificate again"),
    ):
        if label in content:
            return message, hint
    return "holds no certificate", "use the server's root certificate"


def _from_der(content: bytes) -> bytes:
    """One certificate, told from other DER files by the first element inside: no key is parsed."""
    inside = content[2 + (content[1] & 0x7F if content[1] & 0x80 else 0) :] if content[1:] else b""
    if inside[:1] == bytes([_INTEGER]):
        if inside[2:3] == bytes([_STORE_VERSION]):
            raise _unreadable(
                "is a PKCS#12 store, which may hold a private key",
                "take the certificate out: openssl pkcs12 -nokeys -cacerts; and remove the store",
            )
        raise _private_key()
    if inside[:1] == bytes([_IDENTIFIER]):
        raise _unreadable(
            "is a PKCS#7 bundle", "convert it: openssl pkcs7 -inform der -print_certs"
        )
    return content


def _facts(certificate: "x509.Certificate") -> CertificateFacts:
    self_issued = certificate.subject.public_bytes() == certificate.issuer.public_bytes()
    names, addresses = _names(certificate)
    return CertificateFacts(
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        _is_authority(certificate, self_issued=self_issued),
        self_issued,
        names,
        addresses,
        _weakness(certificate, self_issued=self_issued),
    )


def _is_authority(certificate: "x509.Certificate", *, self_issued: bool) -> bool:
    """As OpenSSL judges it: version 1 roots have no extensions to say so."""
    from cryptography import x509  # noqa: PLC0415

    extensions = certificate.extensions
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        pass
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return self_issued and certificate.version is x509.Version.v1


def _names(certificate: "x509.Certificate") -> tuple[tuple[str, ...], tuple[Address, ...]]:
    """Host names and IP addresses; the common name counts only where no host name is listed."""
    from cryptography import x509  # noqa: PLC0415

    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return tuple(str(attribute.value).lower() for attribute in common), ()
    names = tuple(name.lower() for name in listed.get_values_for_type(x509.DNSName))
    addresses = listed.get_values_for_type(x509.IPAddress)
    return names, tuple(a for a in addresses if isinstance(a, IPv4Address | IPv6Address))


def _weakness(certificate: "x509.Certificate", *, self_issued: bool) -> str | None:
    """A key too short, or a broken signature; a root's own signature is not what is trusted."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa  # noqa: PLC0415

    try:
        key = certificate.public_key()
        signature = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None  # newer than the library: not for us to call weak
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA_KEY:
        return f"an RSA key of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < SMALLEST_CURVE:
        return f"an elliptic curve key of {key.curve.key_size} bits"
    if isinstance(key, dsa.DSAPublicKey):
        return "a DSA key"
    if not self_issued and signature is not None and signature.name in BROKEN_HASHES:
        return f"a signature made with {BROKEN_HASHES[signature.name]}"
    return None


def _private_key() -> NotACertificate:
    return NotACertificate(
        "certificate-private-key",
        "holds a private key",
        "remove the file, have the key replaced since git remembers it,"
        " and commit the certificate alone",
    )


def _unreadable(message: str, hint: str) -> NotACertificate:
    return NotACertificate("certificate-unreadable", message, hint)
