"""What one tenant has in the database: the SQL, and nothing else.

Plain statements that PostgreSQL understands too. No method begins or ends a transaction: what
belongs together is decided by the caller.
"""

import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.errors import PlatformUnavailable
from reconciler.model import ActualGateway, Fingerprint, Gateway, Status
from reconciler.service.rows import (
    DECLARED,
    READ,
    STATUS,
    Reader,
    applied_text,
    certificates,
    declared_values,
    status_values,
)

_READ: Final = ", ".join(READ)
_SET_DECLARED: Final = ", ".join(f"{column} = ?" for column in DECLARED)
_SET_STATUS: Final = ", ".join(f"{column} = ?" for column in STATUS)
_INSERTED: Final = (
    "tenant",
    *DECLARED,
    "applied",
    "owner",
    "revision",
    *STATUS,
    "created_at",
    "updated_at",
)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to a gateway. `changes` is JSON of non-secret fields; secrets are words."""

    at: str
    actor: str
    commit: str | None
    run: str
    gateway: str
    action: str
    revision: str
    changes: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lock's row. `token` is None where it was given back; `fence` grows with each holder."""

    fence: int
    token: str | None
    holder: str
    run: str
    since: str
    expires: str


class Store:
    """One tenant's rows, over one open connection."""

    def __init__(self, connection: sqlite3.Connection, tenant: str) -> None:
        self._connection = connection
        self.tenant = tenant

    # gateways

    def snapshot(self) -> tuple[ActualGateway, ...]:
        """Every gateway, sorted by name.

        Raises:
            PlatformUnavailable: a row does not hold what was written.

        """
        return self.restored(self.rows())

    def rows(self) -> Iterator[Sequence[Any]]:
        """Of every gateway what `row` gives of one, sorted by name."""
        return self._run(
            f"SELECT {_READ} FROM gateways WHERE tenant = ? ORDER BY name"  # noqa: S608 - constants
        )

    def restored(self, rows: Iterable[Sequence[Any]]) -> tuple[ActualGateway, ...]:
        """Many rows at once, which share what they have in common."""
        reader = Reader(self._pems())
        return tuple(_read(reader, row) for row in rows)

    def find(self, name: str) -> ActualGateway | None:
        row = self.row(name)
        return self.restore(row) if row else None

    def row(self, name: str) -> Sequence[Any] | None:
        """The columns of a gateway's answer: what `restore` takes."""
        found: Sequence[Any] | None = self._run(
            f"SELECT {_READ} FROM gateways WHERE tenant = ? AND name = ?",  # noqa: S608 - constants
            name,
        ).fetchone()
        return found

    def restore(self, row: Sequence[Any]) -> ActualGateway:
        return _read(Reader(self._pems(certificates(row))), row)

    def insert(self, gateway: Gateway, owner: str, status: Status, now: str) -> None:
        """Add a gateway at revision 1, with no password yet."""
        self._keep_certificate(gateway)
        values = declared_values(gateway)
        columns = ", ".join(_INSERTED)
        marks = ", ".join("?" for _ in _INSERTED)
        self._connection.execute(
            f"INSERT INTO gateways ({columns}) VALUES ({marks})",  # noqa: S608 - constants
            (
                self.tenant,
                *values,
                applied_text(values),
                owner,
                1,
                *status_values(status),
                now,
                now,
            ),
        )

    def write_fields(self, gateway: Gateway, owner: str, *, applied: bool = True) -> None:
        """Store declared fields, and remember them as the ones last applied if they are."""
        self._keep_certificate(gateway)
        values = declared_values(gateway)
        text = applied_text(values) if applied else None
        self._connection.execute(
            f"UPDATE gateways SET {_SET_DECLARED}, "  # noqa: S608 - constants
            "applied = coalesce(?, applied), owner = ? WHERE tenant = ? AND name = ?",
            (*values, text, owner, self.tenant, gateway.name),
        )

    def advance(self, name: str, status: Status, now: str) -> None:
        """Give a gateway its next revision and a status: the end of every write to it."""
        self._connection.execute(
            f"UPDATE gateways SET {_SET_STATUS}, revision = revision + 1, updated_at = ? "  # noqa: S608 - constants
            "WHERE tenant = ? AND name = ?",
            (*status_values(status), now, self.tenant, name),
        )

    def record_status(
        self, name: str, revision: str, status: Status, *, epoch: int | None = None
    ) -> bool:
        """Store what became of a session; False, and nothing stored, if the gateway moved on.

        `epoch` is the fencing number of the session's owner: an earlier owner's is refused. A
        command has none: it works only where no service does.
        """
        written = self._connection.execute(
            f"UPDATE gateways SET {_SET_STATUS}, epoch = coalesce(?, epoch) "  # noqa: S608 - constants
            "WHERE tenant = ? AND name = ? AND revision = ? AND (? IS NULL OR epoch <= ?)",
            (*status_values(status), epoch, self.tenant, name, int(revision), epoch, epoch),
        )
        return written.rowcount == 1

    # passwords: sealed before they come here

    def password(self, name: str) -> bytes | None:
        row = self._run("SELECT password FROM gateways WHERE tenant = ? AND name = ?", name)
        found = row.fetchone()
        return found[0] if found else None

    def write_password(
        self, name: str, sealed: bytes | None, fingerprint: Fingerprint | None
    ) -> None:
        self._connection.execute(
            "UPDATE gateways SET password = ?, fingerprint = ? WHERE tenant = ? AND name = ?",
            (sealed, str(fingerprint) if fingerprint else None, self.tenant, name),
        )

    def key_check(self) -> str | None:
        """Every tenant's passwords are sealed with the database's one key."""
        found = self._run(
            "SELECT value FROM key_checks ORDER BY CASE tenant WHEN ? THEN 0 ELSE 1 END LIMIT 1"
        ).fetchone()
        return found[0] if found else None

    def remember_key_check(self, value: str) -> None:
        self._connection.execute("INSERT INTO key_checks VALUES (?, ?)", (self.tenant, value))

    def refused_logins(self, credential: str) -> int:
        """How often one login was refused, through whichever gateway."""
        found = self._run(
            "SELECT coalesce(sum(logins), 0) FROM refusals WHERE tenant = ? AND credential = ?",
            credential,
        ).fetchone()
        return int(found[0])

    def count_refusal(self, credential: str, gateway: str, now: str) -> None:
        self._connection.execute(
            "INSERT INTO refusals VALUES (?, ?, ?, 1, ?) ON CONFLICT (tenant, credential, gateway) "
            "DO UPDATE SET logins = refusals.logins + 1, last_at = excluded.last_at",
            (self.tenant, credential, gateway, now),
        )

    def uncount_refusal(self, credential: str, gateway: str) -> None:
        self._run(
            "UPDATE refusals SET logins = logins - 1 "
            "WHERE tenant = ? AND credential = ? AND gateway = ? AND logins > 0",
            credential,
            gateway,
        )

    def forget_refusals(self, *, credential: str | None = None, gateway: str | None = None) -> None:
        """Those of a login that was accepted, or of a gateway whose password is erased."""
        self._connection.execute(
            "DELETE FROM refusals WHERE tenant = ? AND (credential = ? OR gateway = ?)",
            (self.tenant, credential, gateway),
        )

    # the audit trail, answers to repeated writes, the lock

    def write_audit(self, entry: AuditEntry) -> None:
        self._connection.execute(
            "INSERT INTO audit (tenant, at, actor, git_commit, run, gateway, action, revision, "
            "changes, token) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.tenant,
                entry.at,
                entry.actor,
                entry.commit,
                entry.run,
                entry.gateway,
                entry.action,
                int(entry.revision),
                entry.changes,
                entry.token,
            ),
        )

    def audit(self, gateway: str | None = None) -> tuple[AuditEntry, ...]:
        """The audit trail in the order of writing, of one gateway or of all."""
        rows = self._connection.execute(
            "SELECT at, actor, git_commit, run, gateway, action, revision, changes, token "
            "FROM audit WHERE tenant = ? AND (? IS NULL OR gateway = ?) ORDER BY id",
            (self.tenant, gateway, gateway),
        )
        return tuple(
            AuditEntry(at, actor, commit, run, name, action, str(revision), changes, token)
            for at, actor, commit, run, name, action, revision, changes, token in rows
        )

    def answer(self, key: str) -> tuple[str, Sequence[Any]] | None:
        """The request that a write key was used for, and the row it was answered with."""
        found = self._run(
            "SELECT request, answer FROM answers WHERE tenant = ? AND write_key = ?", key
        ).fetchone()
        return (found[0], json.loads(found[1])) if found else None

    def remember_answer(self, key: str, request: str, gateway: str, now: str) -> Sequence[Any]:
        row = self.row(gateway)
        if row is None:
            raise LookupError(gateway)
        self._connection.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)",
            (self.tenant, key, request, gateway, json.dumps(row), now),
        )
        return row

    def forget_answers(self, *, gateway: str) -> None:
        self._run("DELETE FROM answers WHERE tenant = ? AND gateway = ?", gateway)

    def forget_answers_before(self, moment: str) -> None:
        self._run("DELETE FROM answers WHERE tenant = ? AND at < ?", moment)

    def lease(self, lock: str) -> Lease | None:
        found = self._run(
            "SELECT fence, token, holder, run, since, expires FROM locks "
            "WHERE tenant = ? AND name = ?",
            lock,
        ).fetchone()
        return Lease(*found) if found else None

    def write_lease(self, lock: str, lease: Lease) -> None:
        self._connection.execute(
            "INSERT INTO locks (tenant, name, fence, token, holder, run, since, expires) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, name) DO UPDATE SET "
            "fence = excluded.fence, token = excluded.token, holder = excluded.holder, "
            "run = excluded.run, since = excluded.since, expires = excluded.expires",
            (
                self.tenant,
                lock,
                lease.fence,
                lease.token,
                lease.holder,
                lease.run,
                lease.since,
                lease.expires,
            ),
        )

    def _keep_certificate(self, gateway: Gateway) -> None:
        if gateway.certificate:
            self._connection.execute(
                "INSERT INTO certificates VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (self.tenant, gateway.certificate.digest, gateway.certificate.pem),
            )

    def _pems(self, digests: Iterable[str] | None = None) -> Mapping[str, str]:
        if digests is None:
            return dict(self._run("SELECT digest, pem FROM certificates WHERE tenant = ?"))
        query = "SELECT digest, pem FROM certificates WHERE tenant = ? AND digest = ?"
        found = (row for digest in sorted(digests) for row in self._run(query, digest))
        # thousands of gateways are read one by one and kept, and share a certificate
        return {digest: sys.intern(pem) for digest, pem in found}

    def _run(self, statement: str, *values: str) -> sqlite3.Cursor:
        return self._connection.execute(statement, (self.tenant, *values))


def _read(reader: Reader, row: Sequence[Any]) -> ActualGateway:
    try:
        return reader.actual(row)
    except (LookupError, TypeError, ValueError) as error:
        raise PlatformUnavailable(
            f"gateway {row[0]!r} cannot be read from the database: its row was altered",
            "restore the database from a backup",
        ) from error
