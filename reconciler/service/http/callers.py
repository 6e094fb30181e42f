"""Who calls: the token of a request, verified once and known from then on until it changes."""

import asyncio
import hashlib
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reconciler.clock import Clock
from reconciler.service.access import Principal, Tokens
from reconciler.service.http.versions import Version, version_of
from reconciler.tokens import Token

_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and the version of the database at which that was looked up."""

    principal: Principal
    version: Version


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    until: datetime


class Callers:
    """Verified tokens, by the hash of the whole header: no token stays in memory.

    They are verified again once another process has written to the database, which is how a token
    is revoked while the service runs. This process writes no tokens.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._others = -1
        self._version: Version | None = None

    def remembered(self, header: str) -> Caller | None:
        """Who a header stands for, if the database was asked in this turn of the event loop.

        Once in a turn is enough: the requests of a turn were received before it began, so that
        what was committed before one of them was sent has been seen.
        """
        if self._version is None:
            return None
        known = self._known.get(_hash(header))
        return self._caller(known, self._version)

    def find(self, connection: sqlite3.Connection, header: str) -> Caller | None:
        """Who a header `Authorization` stands for; None if for nobody, now."""
        version = version_of(connection)
        if version[0] != self._others:
            self._known.clear()
            self._others = version[0]
        if self._version is None:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._version = version
        key = _hash(header)
        return self._caller(self._known.get(key) or self._verify(connection, header, key), version)

    def _end_turn(self) -> None:
        self._version = None

    def _caller(self, known: _Known | None, version: Version) -> Caller | None:
        if known is None or known.until <= self._clock():
            return None
        return Caller(known.principal, version)

    def _verify(self, connection: sqlite3.Connection, header: str, key: bytes) -> _Known | None:
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
        known = self._known[key] = _Known(found, datetime.fromisoformat(found.expires_at))
        return known


def _hash(header: str) -> bytes:
    return hashlib.sha256(header.encode("utf-8", "surrogateescape")).digest()
