"""How many messages each gateway has taken in and sent since midnight, UTC.

Messages are numbered in the order in which they came, so that a day's begin at one number, and
each question is answered by a range of an index, however many messages are kept.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reconciler.clock import stamp

_FIRST: Final = {
    "inbox": "SELECT number, received_at FROM inbox WHERE number >= ? ORDER BY number LIMIT 1",
    "outbox": "SELECT number, created_at FROM outbox WHERE number >= ? ORDER BY number LIMIT 1",
}
_LAST: Final = {
    "inbox": "SELECT coalesce(max(number), 0) FROM inbox",
    "outbox": "SELECT coalesce(max(number), 0) FROM outbox",
}

_OUT: Final = (
    "(SELECT count(*) FROM outbox WHERE outbox.tenant = gateways.tenant "
    "AND outbox.gateway = name AND number >= ?{})"
)
# a moment is greater than no text: so the index of what is due is used
_WAITING: Final = " AND next_attempt_at > ''"
_TROUBLED: Final = " AND state IN ('failed', 'partly sent', 'unknown')"
_COUNTS: Final = (
    "SELECT name, (SELECT count(*) FROM inbox WHERE inbox.tenant = gateways.tenant "  # noqa: S608 - constants
    "AND inbox.gateway = name AND complete = 1 AND number >= ?), "
    f"{_OUT.format('')}, {_OUT.format(_TROUBLED)}, {_OUT.format(_WAITING)}, {_OUT.format(_WAITING)}"
    " FROM gateways WHERE tenant = ? AND name IN ({})"
)


@dataclass(frozen=True, slots=True)
class Mail:
    """Messages of one gateway: those of today, but for `waiting`, which are all to be sent yet.

    `troubled` were refused by a server, at least for some recipients, or cut off so that nobody can
    tell whether they arrived.
    """

    received: int = 0
    sent: int = 0
    waiting: int = 0
    troubled: int = 0


def mail_today(
    connection: sqlite3.Connection, tenant: str, names: Sequence[str], now: datetime
) -> Mapping[str, Mail]:
    midnight = stamp(now.replace(hour=0, minute=0, second=0, microsecond=0))
    first_in, first_out = (_first_since(connection, table, midnight) for table in _FIRST)
    marks = ", ".join("?" for _ in names)
    rows = connection.execute(
        _COUNTS.format(marks), (first_in, first_out, first_out, first_out, 0, tenant, *names)
    )
    return {
        name: Mail(received, max(0, accepted - troubled - waiting_today), waiting, troubled)
        for name, received, accepted, troubled, waiting_today, waiting in rows
    }


def _first_since(connection: sqlite3.Connection, table: str, moment: str) -> int:
    """The lowest number of what is there since a moment, found by halving."""
    low, high = 0, int(connection.execute(_LAST[table]).fetchone()[0]) + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_FIRST[table], (middle,)).fetchone()
        if row is None or row[1] >= moment:
            high = middle
        else:
            low = int(row[0]) + 1
    return low
