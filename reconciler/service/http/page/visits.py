"""Visits: browsers that were signed in with an access token.

The cookie holds random bytes and nothing else. Kept is its hash, so that whoever reads the
database cannot pass for a visitor. A visit is good for as long as its token is, and twelve hours
at most.
"""

import hashlib
import hmac
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from reconciler.clock import Clock, stamp
from reconciler.service.access import Principal, Role

LASTS: Final = timedelta(hours=12)
_COOKIE_BYTES: Final = 32
_MOST_LETTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Visit:
    """Who looks at the page. `id` is the hash that the visit is kept under.

    `form_token` goes into every form, since a page elsewhere can send a form but cannot read it.
    """

    id: str
    principal: Principal
    note: str
    form_token: str

    @property
    def may_press(self) -> bool:
        return self.principal.role.allows(Role.OPERATE)

    @property
    def who(self) -> str:
        """The name that the audit trail knows the visitor by."""
        return self.note or f"token {self.principal.token}"


@dataclass(frozen=True, slots=True)
class Visits:
    """Every visit, over one open connection; writing needs a caller's transaction."""

    connection: sqlite3.Connection
    clock: Clock

    def begin(self, principal: Principal) -> str:
        """Begin a visit; its cookie is nowhere but in what is returned."""
        now = self.clock()
        self.connection.execute("DELETE FROM visits WHERE ends_at <= ?", (stamp(now),))
        cookie = secrets.token_urlsafe(_COOKIE_BYTES)
        self.connection.execute(
            "INSERT INTO visits VALUES (?, ?, ?, ?, ?)",
            (_hash(cookie), principal.tenant, principal.token, stamp(now), stamp(now + LASTS)),
        )
        return cookie

    def find(self, cookie: str) -> Visit | None:
        """Whose visit it is; None where it is over, or its token is revoked or out of date."""
        if not 0 < len(cookie) <= _MOST_LETTERS:
            return None
        visit_id = _hash(cookie)
        row = self._row(visit_id)
        if row is None:
            return None
        form_token = hmac.digest(cookie.encode(), b"form", "sha256").hex()
        return Visit(visit_id, Principal(row[0], row[1], Role(row[2]), row[3]), row[4], form_token)

    def lasts(self, visit_id: str) -> bool:
        return self._row(visit_id) is not None

    def end(self, visit_id: str) -> None:
        self.connection.execute("DELETE FROM visits WHERE hash = ?", (visit_id,))

    def _row(self, visit_id: str) -> tuple[Any, ...] | None:
        now = stamp(self.clock())
        found: tuple[Any, ...] | None = self.connection.execute(
            "SELECT tokens.tenant, tokens.id, tokens.role, tokens.expires_at, tokens.note "
            "FROM visits JOIN tokens ON tokens.id = visits.token AND tokens.tenant = visits.tenant "
            "WHERE visits.hash = ? AND visits.ends_at > ? "
            "AND tokens.revoked_at IS NULL AND tokens.expires_at > ?",
            (visit_id, now, now),
        ).fetchone()
        return found


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
