"""What a server's certificates say, and which root they chain to. Nothing is trusted by this.

The certificates may come from anybody: whatever cannot be read is said to be so, and their text is
for a sink that escapes it.
"""

import ssl
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

LONGEST: Final = 10
"""Certificates of a chain that are looked at."""

_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate of a chain; times are UTC. Subject and issuer are whatever it says."""

    der: bytes
    subject: str
    issuer: str
    common_name: str
    not_before: datetime
    not_after: datetime
    fingerprint: str
    self_signed: bool


class NotReadable(Exception):
    """A certificate that no library makes sense of."""


def links(ders: Sequence[bytes]) -> tuple[Link, ...]:
    """The certificates of a chain, in the order given.

    Raises:
        NotReadable: one of them cannot be read.

    """
    return tuple(_link(_read(der)) for der in ders[:LONGEST])


def root_of(chain: Sequence[Link], known: Sequence[bytes] = ()) -> Link | None:
    """The root of a server's certificate, which is the first of its chain.

    Found by issuer and signature among what the server sent, in this system's trust store, and
    among `known` certificates; None where none of them has it, or the issuers go round in a circle.
    """
    read = [_read(one.der) for one in chain]
    others = [*_store(), *map(_read, known)]
    own, seen = read[0], set[bytes]()
    while not _issued(own, own):
        fingerprint = own.fingerprint(SHA256())
        if fingerprint in seen:
            return None
        seen.add(fingerprint)
        # the store first: what a server sends may lead on to a root that nobody has any more
        issuer = _issuer(own, others) or _issuer(own, read)
        if issuer is None:
            return None
        own = issuer
    return _link(own)


def _issuer(own: x509.Certificate, among: Iterable[x509.Certificate]) -> x509.Certificate | None:
    return next((one for one in among if _issued(one, own)), None)


def _issued(issuer: x509.Certificate, other: x509.Certificate) -> bool:
    try:
        if issuer.subject != other.issuer:
            return False
        other.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


@cache
def _store() -> tuple[x509.Certificate, ...]:
    """The roots that this system trusts; those that cannot be read are left out."""
    context = ssl.create_default_context()
    found = []
    for der in context.get_ca_certs(binary_form=True):
        try:
            found.append(_read(der))
        except NotReadable:
            continue
    return tuple(found)


def _read(der: bytes) -> x509.Certificate:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd serial number is not ours to judge
            return x509.load_der_x509_certificate(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise NotReadable("it cannot be read") from None


def _link(one: x509.Certificate) -> Link:
    try:
        common = one.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return Link(
            one.public_bytes(Encoding.DER),
            one.subject.rfc4514_string()[:_LONGEST_NAME],
            one.issuer.rfc4514_string()[:_LONGEST_NAME],
            str(common[0].value)[:_LONGEST_NAME] if common else "",
            one.not_valid_before_utc,
            one.not_valid_after_utc,
            one.fingerprint(SHA256()).hex(":").upper(),
            _issued(one, one),
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise NotReadable("it cannot be read") from None
