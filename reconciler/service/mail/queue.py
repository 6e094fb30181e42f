"""The queue as those who send work on it: what is due, what is under way, what came of it."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.messages import MessageState, RecipientState
from reconciler.service.mail.handovers import Noted
from reconciler.service.mail.outbox import Outbox, state_of

_FATE_UNKNOWN: Final = (
    "the service stopped after handing the message over, before the server's answer was stored"
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message under way. `recipients` are those that are still to be sent to, by position."""

    number: int
    sender: str
    utf8: bool
    size: int
    parts: int
    attempts: int
    due: str
    recipients: tuple[tuple[int, str], ...]
    first: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one recipient in an attempt."""

    position: int
    state: RecipientState
    answer: str


class Queue:
    """One gateway's, over one connection; writing needs a caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, tenant: str, gateway: str) -> None:
        self._connection = connection
        self._gateway = (tenant, gateway)

    def next_due(self) -> str | None:
        """When the next attempt is to be made."""
        row = self._run(
            "SELECT min(next_attempt_at) FROM outbox WHERE tenant = ? AND gateway = ? "
            "AND next_attempt_at IS NOT NULL"
        ).fetchone()
        return row[0] if row else None

    def claim(self, epoch: int, now: str, most: int) -> tuple[Claimed, ...]:
        """Take what is due, in order: it is under way from now on, and nobody else's."""
        rows = self._run(
            "SELECT number, sender, utf8, size, parts, attempts, next_attempt_at "
            "FROM outbox WHERE tenant = ? AND gateway = ? AND next_attempt_at <= ? "
            "ORDER BY next_attempt_at, number LIMIT ?",
            now,
            most,
        ).fetchall()
        return tuple(self._claimed(row, epoch) for row in rows)

    def _claimed(self, row: Sequence[Any], epoch: int) -> Claimed:
        number, sender, utf8, size, parts, attempts, due = row
        self._connection.execute(
            "UPDATE outbox SET in_flight = ?, next_attempt_at = NULL WHERE number = ?",
            (epoch, number),
        )
        return Claimed(
            number,
            sender,
            bool(utf8),
            size,
            parts,
            attempts,
            due,
            self.waiting_recipients(number),
            self.piece(number, 0),
        )

    def waiting_recipients(self, number: int) -> tuple[tuple[int, str], ...]:
        """Position and address of those that a message is still to be sent to."""
        rows = self._connection.execute(
            "SELECT position, address FROM outbox_recipients "
            "WHERE message = ? AND state = 'queued' ORDER BY position",
            (number,),
        )
        return tuple(rows)

    def under_way(self, epoch: int) -> tuple[tuple[int, int], ...]:
        """Messages that a process works on, each with its attempt."""
        rows = self._run(
            "SELECT number, attempts FROM outbox WHERE tenant = ? AND gateway = ? "
            "AND in_flight = ?",
            epoch,
        )
        return tuple(rows)

    def piece(self, number: int, part: int) -> bytes:
        row = self._connection.execute(
            "SELECT bytes FROM outbox_content WHERE message = ? AND part = ?", (number, part)
        ).fetchone()
        return bytes(row[0])

    def put_back(self, number: int, epoch: int, due: str) -> None:
        """A message that was not handed over; it waits until it is due."""
        self._connection.execute(
            "UPDATE outbox SET in_flight = 0, next_attempt_at = ? "
            "WHERE number = ? AND in_flight = ?",
            (due, number, epoch),
        )

    def record(
        self, number: int, epoch: int, results: Iterable[Result], *, now: str, due: str
    ) -> bool:
        """Store what an attempt came to; `due` is when the next is made, if there is to be one.

        False, and nothing stored, if the message is no longer under way by this process.
        """
        ours = self._connection.execute(
            "UPDATE outbox SET in_flight = 0, attempts = attempts + 1 "
            "WHERE number = ? AND in_flight = ?",
            (number, epoch),
        )
        if ours.rowcount != 1:
            return False
        self._connection.executemany(
            "UPDATE outbox_recipients SET state = ?, answer = ?, attempts = attempts + 1 "
            "WHERE message = ? AND position = ?",
            [(one.state.value, one.answer, number, one.position) for one in results],
        )
        self.settle(number, now=now, due=due)
        return True

    def settle(self, number: int, *, now: str, due: str) -> MessageState:
        """Make of the recipients' states the message's, and let go of what nobody needs."""
        states = self._connection.execute(
            "SELECT state FROM outbox_recipients WHERE message = ?", (number,)
        )
        state = state_of(row[0] for row in states)
        waits = state is MessageState.QUEUED
        self._connection.execute(
            "UPDATE outbox SET state = ?, next_attempt_at = ?, finished_at = ? WHERE number = ?",
            (state.value, due if waits else None, None if waits else now, number),
        )
        if not waits and state is not MessageState.UNKNOWN:
            self._drop_content(number)
        return state

    def _drop_content(self, number: int) -> None:
        tenant, gateway = self._gateway
        dropped = self._connection.execute(
            "DELETE FROM outbox_content WHERE message = ?", (number,)
        )
        if dropped.rowcount:
            size = self._connection.execute(
                "SELECT size FROM outbox WHERE number = ?", (number,)
            ).fetchone()[0]
            Outbox(self._connection, tenant).count(gateway, -1, -size)

    def finish(
        self, number: int, states: Sequence[RecipientState], became: RecipientState, answer: str
    ) -> None:
        """Settle, without an attempt, the recipients that are in one of some states."""
        for state in states:
            self._connection.execute(
                "UPDATE outbox_recipients SET state = ?, answer = CASE WHEN answer = '' THEN ? "
                "ELSE ? || ': ' || answer END WHERE message = ? AND state = ?",
                (became.value, answer, answer, number, state.value),
            )

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, (*self._gateway, *values))


def judge_interrupted(
    connection: sqlite3.Connection, epoch: int, noted: Noted | None, now: str
) -> None:
    """Settle what processes before the one of `epoch` left under way, when they ended.

    What was not noted as handed over is due again. Of the rest nobody can tell, and of nothing
    where there are no notes.
    """
    rows = connection.execute(
        "SELECT number, tenant, gateway, attempts, in_flight FROM outbox "
        "WHERE in_flight <> 0 AND in_flight <> ?",
        (epoch,),
    ).fetchall()
    for number, tenant, gateway, attempts, owner in rows:
        known = noted is not None and noted.tells(owner)
        again = known and noted is not None and not noted.handed_over(number, attempts)
        _judge(Queue(connection, tenant, gateway), number, owner, now, again=again)


def judge_abandoned(queue: Queue, epoch: int, noted: Noted, now: str) -> None:
    """The same for what this process has left under way of one gateway, and no longer works on."""
    for number, attempts in queue.under_way(epoch):
        again = not noted.handed_over(number, attempts)
        _judge(queue, number, epoch, now, again=again)


def _judge(queue: Queue, number: int, epoch: int, now: str, *, again: bool) -> None:
    if again:
        queue.put_back(number, epoch, now)
    else:
        waiting = queue.waiting_recipients(number)
        unknown = [Result(one, RecipientState.UNKNOWN, _FATE_UNKNOWN) for one, _ in waiting]
        queue.record(number, epoch, unknown, now=now, due=now)
