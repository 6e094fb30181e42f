"""The rows of received messages of one tenant: what is listed, its bytes, and what comes in."""

import json
import re
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.messages import InboxPage, ReceivedMessage
from reconciler.service.mail.webhook_queue import announce

PIECE: Final = 256 * 1024
"""How much of a message one row holds."""

CANNOT_BE_READ: Final = "cannot be read"
MAX_READINGS: Final = 3

_CURSOR: Final = re.compile(r"[0-9]{1,18}")
_COLUMNS: Final = "id, gateway, received_at, size, resync, parsed"
_READ_WELL: Final = -1


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list shows of a message, as its header says it."""

    sender: str = ""
    to: tuple[str, ...] = ()
    subject: str = ""
    message_id: str = ""
    in_reply_to: str = ""
    defects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that is to be listed: what it is called, and what is known of it.

    Its bytes are in `content`, or, where there are more than a piece, under `number` already. It
    has none where it was left on the server.
    """

    identity: str
    print: str
    size: int
    summary: Summary
    content: bytes = field(default=b"", repr=False)
    number: int | None = None
    has_content: bool = True
    resync: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A listed message. `readings` counts those that have failed; `number` names its content."""

    number: int
    message: ReceivedMessage
    has_content: bool
    readings: int

    @property
    def was_read(self) -> bool:
        """Whether it could be read before."""
        return self.readings == _READ_WELL


class Inbox:
    """One tenant's received messages, over one connection; writing needs a caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, tenant: str) -> None:
        self._connection = connection
        self.tenant = tenant

    def listed(self, gateway: str, cursor: str, limit: int) -> InboxPage:
        """The messages after a cursor, or with an empty one those that are kept.

        Raises:
            ValueError: it is no cursor of a page.

        """
        if cursor and not _CURSOR.fullmatch(cursor):
            raise ValueError("it is no cursor of a page")
        return self.page(gateway, int(cursor) if cursor else self._oldest(gateway), limit)

    def page(self, gateway: str, after: int, limit: int) -> InboxPage:
        """The messages after a position, and how many there were before the first of them."""
        rows = self._run(
            f"SELECT position, {_COLUMNS} FROM inbox "  # noqa: S608 - constants
            "WHERE tenant = ? AND gateway = ? AND position > ? ORDER BY position LIMIT ?",
            gateway,
            after,
            limit,
        ).fetchall()
        messages = tuple(_message(row[1:]) for row in rows)
        if rows:
            return InboxPage(messages, str(rows[-1][0]), rows[0][0] - after - 1)
        last = self._last(gateway)
        return InboxPage((), str(max(after, last)), max(0, last - after))

    def _oldest(self, gateway: str) -> int:
        """The position before the first message that is kept."""
        found = self._run(
            "SELECT min(position) FROM inbox WHERE tenant = ? AND gateway = ?", gateway
        ).fetchone()[0]
        return self._last(gateway) if found is None else int(found) - 1

    def find(self, gateway: str, message_id: str) -> Kept | None:
        row = self._run(
            f"SELECT number, has_content, parse_attempts, {_COLUMNS} FROM inbox "  # noqa: S608
            "WHERE tenant = ? AND gateway = ? AND id = ? AND complete = 1",
            gateway,
            message_id,
        ).fetchone()
        return Kept(row[0], _message(row[3:]), bool(row[1]), row[2]) if row else None

    def piece(self, number: int, part: int) -> bytes | None:
        """One piece of a message that `find` gave; None after the last."""
        row = self._run(
            "SELECT bytes FROM inbox_content WHERE message = "
            "(SELECT number FROM inbox WHERE tenant = ? AND number = ?) AND part = ?",
            number,
            part,
        ).fetchone()
        return row[0] if row else None

    # what comes in

    def begin(self, gateway: str, now: str) -> int:
        """Make room for a message that comes in pieces; nobody sees it before it is whole."""
        return self._insert(gateway, now, 0)

    def add_piece(self, number: int, part: int, data: bytes) -> None:
        self._connection.execute("INSERT INTO inbox_content VALUES (?, ?, ?)", (number, part, data))

    def list_(self, gateway: str, arrived: Arrived, now: str) -> None:
        """Show a message from now on, as the newest of its gateway."""
        number = arrived.number
        if number is None:
            number = self._insert(gateway, now, arrived.size)
            if arrived.has_content:
                self.add_piece(number, 0, arrived.content)
        position = self._last(gateway) + 1
        self._connection.execute(
            "INSERT INTO inbox_cursors (tenant, gateway, last) VALUES (?, ?, ?) "
            "ON CONFLICT (tenant, gateway) DO UPDATE SET last = excluded.last",
            (self.tenant, gateway, position),
        )
        self._connection.execute(
            "UPDATE inbox SET complete = 1, position = ?, size = ?, has_content = ?, resync = ?, "
            "parsed = ? WHERE number = ?",
            (
                position,
                arrived.size,
                arrived.has_content,
                arrived.resync,
                _text(arrived.summary),
                number,
            ),
        )
        announce(self._connection, number, now)

    def unfinished(self, gateway: str) -> tuple[int, ...]:
        """The messages of which only a part has come, as after a crash."""
        rows = self._run(
            "SELECT number FROM inbox WHERE tenant = ? AND gateway = ? AND complete = 0", gateway
        )
        return tuple(row[0] for row in rows)

    # reading

    def count_reading(self, number: int) -> None:
        """Count an attempt before it is made, for it may end this process."""
        self._connection.execute(
            "UPDATE inbox SET parse_attempts = parse_attempts + 1 "
            "WHERE number = ? AND parse_attempts >= 0",
            (number,),
        )

    def discount_reading(self, number: int) -> None:
        """Take an attempt back that was given up for another reason."""
        self._connection.execute(
            "UPDATE inbox SET parse_attempts = parse_attempts - 1 "
            "WHERE number = ? AND parse_attempts > 0",
            (number,),
        )

    def read_well(self, number: int) -> None:
        """Count no more: the message can be read."""
        self._connection.execute(
            "UPDATE inbox SET parse_attempts = ? WHERE number = ?", (_READ_WELL, number)
        )

    def give_up(self, number: int) -> None:
        """Say of a message, wherever it is listed, that it cannot be read."""
        row = self._connection.execute(
            "SELECT parsed FROM inbox WHERE number = ?", (number,)
        ).fetchone()
        if row:
            parsed = json.loads(row[0])
            if CANNOT_BE_READ not in parsed["defects"]:
                parsed["defects"].append(CANNOT_BE_READ)
            self._connection.execute(
                "UPDATE inbox SET parsed = ? WHERE number = ?", (json.dumps(parsed), number)
            )

    def _insert(self, gateway: str, now: str, size: int) -> int:
        row = self._connection.execute(
            "INSERT INTO inbox (tenant, id, gateway, received_at, size) VALUES (?, ?, ?, ?, ?) "
            "RETURNING number",
            (self.tenant, secrets.token_hex(12), gateway, now, size),
        ).fetchone()
        return int(row[0])

    def _last(self, gateway: str) -> int:
        """The highest position that was given, also where the row that says so was lost."""
        row = self._run(
            "SELECT last FROM inbox_cursors WHERE tenant = ? AND gateway = ?", gateway
        ).fetchone()
        kept = self._run(
            "SELECT max(position) FROM inbox WHERE tenant = ? AND gateway = ?", gateway
        ).fetchone()
        return max(row[0] if row else 0, kept[0] or 0)

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, (self.tenant, *values))


def _message(row: Sequence[Any]) -> ReceivedMessage:
    message_id, gateway, received_at, size, resync, text = row
    parsed = json.loads(text)
    return ReceivedMessage(
        message_id,
        gateway,
        parsed["from"],
        tuple(parsed["to"]),
        parsed["subject"],
        received_at,
        size,
        parsed["message_id"],
        parsed["in_reply_to"],
        tuple(parsed["defects"]),
        bool(resync),
    )


def _text(summary: Summary) -> str:
    return json.dumps(
        {
            "from": summary.sender,
            "to": summary.to,
            "subject": summary.subject,
            "message_id": summary.message_id,
            "in_reply_to": summary.in_reply_to,
            "defects": summary.defects,
        }
    )
