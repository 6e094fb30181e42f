"""When the certificates of a gateway end, and how near that is."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
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

_KEPT: Final = 100_000


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


class Anchors:
    """When trust anchors end, by their digests: each is parsed once, thousands share one."""

    def __init__(self) -> None:
        self._ends: dict[str, str | None] = {}

    def read(self, connection: sqlite3.Connection, tenant: str) -> Mapping[str, str | None]:
        """Those of a tenant, and maybe others: a digest says all that tells them apart."""
        rows = connection.execute("SELECT digest FROM certificates WHERE tenant = ?", (tenant,))
        unknown = [digest for (digest,) in rows if digest not in self._ends]
        if len(self._ends) + len(unknown) > _KEPT:
            self._ends.clear()
        for digest in unknown:
            row = connection.execute(
                "SELECT pem FROM certificates WHERE tenant = ? AND digest = ?", (tenant, digest)
            ).fetchone()
            self._ends[digest] = _end(row[0])
        return self._ends


def _end(pem: str) -> str | None:
    """When nothing of an anchor is good any more: a file may carry a root and its successor."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return None
    return stamp(max(one.not_valid_after_utc for one in found))
