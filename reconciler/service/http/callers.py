"""Who calls: the token of a request, verified once and known from then on until it changes."""

import hashlib
import sqlite3
from typing import Final

from reconciler.clock import Clock, stamp
from reconciler.service.access import Principal, Tokens
from reconciler.tokens import Token

_KEPT: Final = 10_000


class Callers:
    """Verified tokens, by the hash of the whole header: no token stays in memory.

    They are verified again once another process has written to the database, which is how a token
    is revoked while the service runs. This process writes no tokens.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._version = -1
        self._known: dict[bytes, Principal] = {}

    def find(self, connection: sqlite3.Connection, header: str) -> Principal | None:
        """Who a header `Authorization` stands for; None if for nobody, now."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._known.clear()
            self._version = version
        key = hashlib.sha256(header.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(key) or self._verify(connection, header, key)
        if known is None or known.expires_at <= stamp(self._clock()):
            return None
        return known

    def _verify(self, connection: sqlite3.Connection, header: str, key: bytes) -> Principal | None:
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
        self._known[key] = found
        return found
