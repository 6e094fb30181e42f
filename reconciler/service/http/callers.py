"""Who calls: the token of a request, verified once and known from then on until it changes."""

import hashlib
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reconciler.clock import Clock
from reconciler.service.access import Principal, Tokens
from reconciler.tokens import Token

_KEPT: Final = 10_000

Version = tuple[int, int]
"""Of the database: the same as long as neither this process nor another has written to it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and the version of the database at which that was looked up."""

    principal: Principal
    version: Version


class Callers:
    """Verified tokens, by the hash of the whole header: no token stays in memory.

    They are verified again once another process has written to the database, which is how a token
    is revoked while the service runs. This process writes no tokens.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._version = -1
        self._known: dict[bytes, tuple[Principal, datetime]] = {}

    def find(self, connection: sqlite3.Connection, header: str) -> Caller | None:
        """Who a header `Authorization` stands for; None if for nobody, now."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._known.clear()
            self._version = version
        key = hashlib.sha256(header.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(key) or self._verify(connection, header, key)
        if known is None or known[1] <= self._clock():
            return None
        return Caller(known[0], (version, connection.total_changes))

    def _verify(
        self, connection: sqlite3.Connection, header: str, key: bytes
    ) -> tuple[Principal, datetime] | None:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            token = Token.parse(text.strip(" "))
        except ValueError:
            return None
        found = Tokens(connection, self._clock).find(token)
        if found is None:
            return None
        if len(self._known) >= _KEPT:
            self._known.clear()
        known = self._known[key] = (found, datetime.fromisoformat(found.expires_at))
        return known
