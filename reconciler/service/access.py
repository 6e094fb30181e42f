"""Who may call the service: tokens, and what a role allows.

A token's secret is shown once, when it is made; kept is its SHA-256, which is enough for 256 random
bits. Tokens are made by a command on the service's machine, also while the service runs.
"""

import hashlib
import hmac
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from reconciler.clock import Clock, stamp
from reconciler.model import Secret
from reconciler.tokens import Token

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LETTERS: Final = 12


class Role(StrEnum):
    """What a token may do; `apply` may all that `operate` may, and that all that `read` may."""

    READ = "read"
    OPERATE = "operate"
    APPLY = "apply"
    SEND = "send"

    def allows(self, wanted: "Role") -> bool:
        return wanted in _ALLOWED[self]


_ALLOWED: Final = {
    Role.READ: frozenset({Role.READ}),
    Role.OPERATE: frozenset({Role.READ, Role.OPERATE}),
    Role.APPLY: frozenset({Role.READ, Role.OPERATE, Role.APPLY}),
    Role.SEND: frozenset({Role.SEND}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a tenant's token by its id, what it may do, and until when (UTC, with a Z)."""

    tenant: str
    token: str
    role: Role
    expires_at: str = ""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it is listed. Times are UTC, ISO 8601 with a Z."""

    id: str
    tenant: str
    role: Role
    origin: str | None
    note: str
    created_at: str
    expires_at: str
    revoked_at: str | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Every tenant's tokens, over one open connection; writing needs a caller's transaction."""

    connection: sqlite3.Connection
    clock: Clock

    def make(
        self, tenant: str, role: Role, *, origin: str | None, days: int, note: str = ""
    ) -> Token:
        """Make a token; its secret is nowhere but in what is returned."""
        token_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LETTERS))
        token = Token(token_id, Secret(secrets.token_urlsafe(32)), origin)
        now = self.clock()
        self.connection.execute(
            "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                token.id,
                tenant,
                role.value,
                _hash(token.secret),
                origin,
                note,
                stamp(now),
                stamp(now + timedelta(days=days)),
            ),
        )
        return token

    def find(self, token: Token) -> Principal | None:
        """Who a token stands for; None if it is unknown, wrong, revoked or out of date."""
        row = self.connection.execute(
            "SELECT tenant, role, hash, expires_at, revoked_at FROM tokens WHERE id = ?",
            (token.id,),
        ).fetchone()
        # compared in any case, so that an id that exists takes as long as one that does not
        same = hmac.compare_digest(row[2] if row else "", _hash(token.secret))
        if row is None or not same or row[4] is not None or row[3] <= stamp(self.clock()):
            return None
        return Principal(row[0], token.id, Role(row[1]), row[3])

    def listed(self, tenant: str | None = None) -> tuple[TokenRow, ...]:
        rows = self.connection.execute(
            "SELECT id, tenant, role, origin, note, created_at, expires_at, revoked_at FROM tokens "
            "WHERE ? IS NULL OR tenant = ? ORDER BY tenant, created_at, id",
            (tenant, tenant),
        )
        return tuple(TokenRow(row[0], row[1], Role(row[2]), *row[3:]) for row in rows)

    def revoke(self, token_id: str) -> TokenRow | None:
        """End a token; gives it as it was, or None if there is no such token."""
        before = next((row for row in self.listed() if row.id == token_id), None)
        self.connection.execute(
            "UPDATE tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?",
            (stamp(self.clock()), token_id),
        )
        return before


def _hash(secret: Secret) -> str:
    return hashlib.sha256(secret.reveal().encode()).hexdigest()
