"""How far a gateway has read its mailbox, and what of it has been dealt with."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.model import Gateway

_AT_ONCE: Final = 500
"""How many values one statement asks for."""

_NEVER: Final = "9999"
_DOUBTED: Final = "*"
"""In place of a print, for a name that is no message's own."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a mailbox was read. `text` is the protocol's own; empty where there is none.

    What arrived before `floor` (UTC, ISO 8601 with a Z) is not new, whatever its number.
    """

    mailbox: str
    text: str = ""
    floor: str = ""


def mailbox_of(gateway: Gateway) -> str:
    """Which mailbox a gateway reads: another port or certificate makes no other mailbox."""
    parts = (gateway.protocol_type.value, gateway.host, gateway.user_id or "")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Progress:
    """One gateway's, over one connection; writing needs a caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, tenant: str, gateway: str) -> None:
        self._connection = connection
        self._gateway = (tenant, gateway)

    def cursor(self) -> Cursor | None:
        """Where reading goes on; None where nothing was read yet, or it was lost."""
        row = self._run(
            "SELECT mailbox, cursor, floor FROM inbox_cursors WHERE tenant = ? AND gateway = ?"
        ).fetchone()
        return Cursor(*row) if row and row[0] else None

    def move(self, cursor: Cursor) -> None:
        self._run(
            "INSERT INTO inbox_cursors (tenant, gateway, mailbox, cursor, floor) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, gateway) DO UPDATE SET "
            "mailbox = excluded.mailbox, cursor = excluded.cursor, floor = excluded.floor",
            cursor.mailbox,
            cursor.text,
            cursor.floor,
        )

    def stumble(self, identity: str) -> int:
        """Count that a message could not be fetched; how often in a row it was the same one."""
        row = self._run(
            "INSERT INTO inbox_cursors (tenant, gateway, stumbled_on, stumbles) "
            "VALUES (?, ?, ?, 1) ON CONFLICT (tenant, gateway) DO UPDATE SET "
            "stumbles = CASE WHEN stumbled_on = excluded.stumbled_on THEN stumbles + 1 ELSE 1 END, "
            "stumbled_on = excluded.stumbled_on RETURNING stumbles",
            identity,
        ).fetchone()
        return int(row[0])

    def stumbled(self) -> tuple[str, int]:
        """The message that could not be fetched at the last attempt, and how often."""
        row = self._run(
            "SELECT stumbled_on, stumbles FROM inbox_cursors WHERE tenant = ? AND gateway = ?"
        ).fetchone()
        return (row[0], row[1]) if row else ("", 0)

    # what has been dealt with

    def remember(self, mailbox: str, identity: str, mark: str, now: str) -> bool:
        """Say that a message has been dealt with; False if that was said before."""
        written = self._run(
            "INSERT INTO inbox_known VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            mailbox,
            identity,
            mark,
            now,
        )
        return written.rowcount == 1

    def known(self, mailbox: str, identities: Sequence[str]) -> frozenset[str]:
        """Which of these have been dealt with."""
        found: set[str] = set()
        for some in _portions(identities):
            rows = self._run(
                "SELECT identity FROM inbox_known "  # noqa: S608 - question marks
                "WHERE tenant = ? AND gateway = ? "
                f"AND mailbox = ? AND identity IN ({_marks(some)})",
                mailbox,
                *some,
            )
            found.update(row[0] for row in rows)
        return frozenset(found)

    def prints(self, prints: Sequence[str]) -> Mapping[str, int]:
        """How many messages with such a print have been dealt with, in whichever mailbox."""
        return {mark: count for mark, count, _ in self._by_print(prints)}

    def last_seen(self, prints: Sequence[str]) -> Mapping[str, str]:
        """When the messages with such a print were last dealt with."""
        return {mark: seen_at for mark, _, seen_at in self._by_print(prints)}

    def called(self, mailbox: str, mark: str) -> tuple[str, ...]:
        """What the messages with a print are called."""
        rows = self._run(
            "SELECT identity FROM inbox_known WHERE tenant = ? AND gateway = ? AND print = ? "
            "AND mailbox = ? ORDER BY identity",
            mark,
            mailbox,
        )
        return tuple(row[0] for row in rows)

    def rename(self, mailbox: str, before: str, identity: str) -> None:
        """The server calls a message otherwise now."""
        self._connection.execute(
            "UPDATE inbox_known SET identity = ? "
            "WHERE tenant = ? AND gateway = ? AND mailbox = ? AND identity = ?",
            (identity, *self._gateway, mailbox, before),
        )

    def doubt(self, mailbox: str, name: str, now: str) -> None:
        """Several messages are called so: from now on each is told by its print as well."""
        self._connection.execute(
            "UPDATE inbox_known SET identity = identity || ' ' || print || ' 1' "
            "WHERE tenant = ? AND gateway = ? AND mailbox = ? AND identity = ? AND print <> ?",
            (*self._gateway, mailbox, name, _DOUBTED),
        )
        self.remember(mailbox, name, _DOUBTED, now)

    def doubted(self, mailbox: str) -> frozenset[str]:
        """What more than one message has been called."""
        return frozenset(self.called(mailbox, _DOUBTED))

    def earliest(self) -> str:
        """When the first message was dealt with that is still remembered; empty if none is."""
        row = self._run(
            "SELECT min(seen_at) FROM inbox_known "
            "WHERE tenant = ? AND gateway = ? AND length(print) > 1"
        ).fetchone()
        return row[0] or ""

    def seen(self, mailbox: str, identities: Sequence[str], now: str) -> None:
        """Note that the server still lists these, so that they are not forgotten."""
        for some in _portions(identities):
            self._connection.execute(
                "UPDATE inbox_known SET seen_at = ? "  # noqa: S608 - question marks
                "WHERE tenant = ? AND gateway = ? "
                f"AND mailbox = ? AND identity IN ({_marks(some)})",
                (now, *self._gateway, mailbox, *some),
            )

    def oldest(self) -> str:
        """When the message was last seen that was not seen for longest; never, if there is none."""
        row = self._run(
            "SELECT min(seen_at) FROM inbox_known WHERE tenant = ? AND gateway = ?"
        ).fetchone()
        return row[0] or _NEVER

    def forget_before(self, moment: str, most: int) -> None:
        """Forget what was last seen before a moment, `most` of it at once."""
        self._run(
            "DELETE FROM inbox_known WHERE (tenant, gateway, mailbox, identity) IN "
            "(SELECT tenant, gateway, mailbox, identity FROM inbox_known "
            "WHERE tenant = ? AND gateway = ? AND seen_at < ? LIMIT ?)",
            moment,
            most,
        )

    def _by_print(self, prints: Sequence[str]) -> Iterator[tuple[str, int, str]]:
        for some in _portions(sorted(set(prints))):
            yield from self._run(
                "SELECT print, count(*), max(seen_at) FROM inbox_known "  # noqa: S608 - marks
                "WHERE tenant = ? AND gateway = ? "
                f"AND print IN ({_marks(some)}) GROUP BY print",
                *some,
            )

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, (*self._gateway, *values))


def _portions(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" for _ in values)
