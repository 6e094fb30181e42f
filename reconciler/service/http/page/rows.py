"""One gateway as the page shows it, and reading those of one page."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from reconciler.model import Cause, EncryptionMode, FailureKind, ProtocolType, StatusState
from reconciler.service.http.page.certificates import CertificateEnd, certificate_end
from reconciler.service.http.page.mail_today import Mail, mail_today
from reconciler.service.http.page.seen import Seen

_COLUMNS: Final = (
    "name, protocol_type, host, port, encryption_mode, certificate_digest, labels, owner, protect, "
    "revision, status, status_since, failure_kind, failure_field, failure_message, failure_hint, "
    "cause, actor"
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a session failed, what is to blame, and what to do."""

    kind: FailureKind
    field: str | None
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class LastChange:
    """The last entry of a gateway's audit trail."""

    at: str
    action: str
    actor: str
    commit: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One gateway. Times are stamps: how long ago that is changes, this does not.

    `actor` is who disconnected it, where somebody did.
    """

    name: str
    protocol_type: ProtocolType
    server: str
    encryption_mode: EncryptionMode
    labels: tuple[tuple[str, str], ...]
    owner: str | None
    protect: bool
    revision: str
    status: StatusState
    since: str
    trouble: Trouble | None
    cause: Cause | None
    actor: str
    seen: Seen
    certificate: CertificateEnd | None
    mail: Mail
    change: LastChange | None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the database: of sessions by name, of trust anchors by digest."""

    seen: Mapping[str, Seen]
    anchors: Mapping[str, str | None]
    now: datetime


def read_shown(
    connection: sqlite3.Connection,
    tenant: str,
    names: Sequence[str],
    known: Known,
) -> tuple[Shown, ...]:
    """The gateways of these names that are still there, in this order."""
    marks = ", ".join("?" for _ in names)
    gateways = connection.execute(
        f"SELECT {_COLUMNS} FROM gateways WHERE tenant = ? AND name IN ({marks})",  # noqa: S608 - constants, question marks
        (tenant, *names),
    ).fetchall()
    beside = _Beside(
        mail_today(connection, tenant, names, known.now), _last_changes(connection, tenant, names)
    )
    by_name = {row[0]: row for row in gateways}
    return tuple(beside.shown(by_name[name], known) for name in names if name in by_name)


@dataclass(frozen=True, slots=True)
class _Beside:
    """What the database has of gateways beside their own rows, by their names."""

    mail: Mapping[str, Mail]
    changes: Mapping[str, LastChange]

    def shown(self, row: Sequence[Any], known: Known) -> Shown:
        name, protocol, host, port, encryption, digest, labels, owner, protect, revision = row[:10]
        status, since, kind, blamed, message, hint, cause, actor = row[10:]
        encrypted = encryption != EncryptionMode.NONE
        seen = known.seen.get(name, Seen())
        return Shown(
            name,
            ProtocolType(protocol),
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            EncryptionMode(encryption),
            tuple((one, value) for one, value in json.loads(labels)),
            owner,
            bool(protect),
            str(revision),
            StatusState(status),
            since,
            Trouble(FailureKind(kind), blamed, message, hint) if kind else None,
            Cause(cause) if cause else None,
            actor,
            seen,
            certificate_end(known.anchors.get(digest), seen.certificate_ends_at, known.now)
            if encrypted
            else None,
            self.mail.get(name, Mail()),
            self.changes.get(name),
        )


def _last_changes(
    connection: sqlite3.Connection, tenant: str, names: Sequence[str]
) -> Mapping[str, LastChange]:
    marks = ", ".join("?" for _ in names)
    rows = connection.execute(
        "SELECT gateway, at, action, actor, git_commit "  # noqa: S608 - question marks
        "FROM audit WHERE id IN "
        f"(SELECT max(id) FROM audit WHERE tenant = ? AND gateway IN ({marks}) "
        "GROUP BY gateway)",
        (tenant, *names),
    )
    return {gateway: LastChange(*rest) for gateway, *rest in rows}
