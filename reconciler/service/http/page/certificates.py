"""When the certificates of a gateway end, and how near that is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from cryptography import x509

from reconciler.clock import stamp
from reconciler.service.http.page.words import moment


class Nearness(StrEnum):
    """How urgent an end is: `soon` from 30 days on, `near` from 14, `urgent` from 7."""

    FAR = "far"
    SOON = "soon"
    NEAR = "near"
    URGENT = "urgent"
    OVER = "over"


_WITHIN: Final = (
    (timedelta(0), Nearness.OVER),
    (timedelta(days=7), Nearness.URGENT),
    (timedelta(days=14), Nearness.NEAR),
    (timedelta(days=30), Nearness.SOON),
)


@dataclass(frozen=True, slots=True)
class CertificateEnd:
    """Whichever ends first: the server's own certificate, or the declared anchor."""

    at: str
    whose: str
    days: int
    nearness: Nearness


def certificate_end(anchor: str | None, server: str | None, now: datetime) -> CertificateEnd | None:
    """Raises ValueError for a time that is none."""
    ends = [
        (moment(at), at, whose)
        for at, whose in ((server, "server's certificate"), (anchor, "trust anchor"))
        if at
    ]
    if not ends:
        return None
    ends_at, text, whose = min(ends)
    left = ends_at - now
    nearness = next((word for within, word in _WITHIN if left <= within), Nearness.FAR)
    return CertificateEnd(text, whose, left.days, nearness)


@lru_cache(maxsize=4096)
def anchor_end(pem: str) -> str | None:
    """When nothing of an anchor is good any more: a file may carry a root and its successor."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return None
    return stamp(max(one.not_valid_after_utc for one in found))
