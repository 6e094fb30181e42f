"""The queue as those who send work on it: what is due, what is under way, what came of it."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.messages import MessageState, Recipient, RecipientState
from reconciler.service.mail.handovers import Noted
from reconciler.service.mail.outbox import Outbox, recipients_from, recipients_text, state_of
from reconciler.service.sessions.smtp import Envelope

_STOPPED: Final = {
    RecipientState.UNKNOWN: "the service stopped after it had handed it over, before the answer",
    RecipientState.SENT: "accepted; the service stopped before the server's words were stored",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is not settled. `owner` is the epoch of the process that it is under way by.

    It is 0 for one that is not under way.
    """

    number: int
    id: str
    size: int
    attempts: int
    owner: int
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is under way, with its first piece; `due` is when it was to be sent.

    `envelope` is for those that it is still to be sent to.
    """

    waiting: Waiting
    envelope: Envelope
    parts: int
    due: str
    first: bytes = field(repr=False)

    @property
    def number(self) -> int:
        return self.waiting.number


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
            "SELECT number, id, size, attempts, recipients, sender, utf8, parts, next_attempt_at, "
            "bytes FROM outbox JOIN outbox_content ON message = number AND part = 0 "
            "WHERE tenant = ? AND gateway = ? AND next_attempt_at <= ? "
            "ORDER BY next_attempt_at, number LIMIT ?",
            now,
            most,
        ).fetchall()
        self._connection.executemany(
            "UPDATE outbox SET in_flight = ?, next_attempt_at = NULL WHERE number = ?",
            [(epoch, row[0]) for row in rows],
        )
        return tuple(self._claimed(row, epoch) for row in rows)

    def _claimed(self, row: Sequence[Any], epoch: int) -> Claimed:
        number, name, size, attempts, text, sender, utf8, parts, due, first = row
        recipients = recipients_from(text)
        to = tuple(one.address for one in recipients if is_queued(one))
        return Claimed(
            Waiting(number, name, size, attempts, epoch, recipients),
            Envelope(sender, to, size, bool(utf8)),
            parts,
            due,
            first,
        )

    def piece(self, number: int, part: int) -> bytes:
        row = self._connection.execute(
            "SELECT bytes FROM outbox_content WHERE message = ? AND part = ?", (number, part)
        ).fetchone()
        return bytes(row[0])

    def put_back(self, waiting: Waiting, due: str) -> None:
        """A message that was not handed over; it waits until it is due."""
        self._connection.execute(
            "UPDATE outbox SET in_flight = 0, next_attempt_at = ? "
            "WHERE number = ? AND in_flight = ?",
            (due, waiting.number, waiting.owner),
        )

    def record(
        self, waiting: Waiting, recipients: Sequence[Recipient], *, now: str, due: str
    ) -> bool:
        """Store what has become of a message; `due` is when the next attempt is, if one is needed.

        False, and nothing stored, if somebody else has it under way now.
        """
        state = state_of(recipients)
        waits = state is MessageState.QUEUED
        written = self._connection.execute(
            "UPDATE outbox SET recipients = ?, state = ?, attempts = ?, in_flight = 0, "
            "next_attempt_at = ?, finished_at = ? WHERE number = ? AND in_flight = ?",
            (
                recipients_text(recipients),
                state.value,
                max(one.attempts for one in recipients),
                due if waits else None,
                None if waits else now,
                waiting.number,
                waiting.owner,
            ),
        )
        if written.rowcount != 1:
            return False
        if not waits and state is not MessageState.UNKNOWN:
            self._drop_content(waiting)
        return True

    def find(self, message_id: str) -> Waiting | None:
        """Any message of the gateway's, settled or not."""
        return next(iter(self._waiting("id = ?", message_id)), None)

    def extend(self, waiting: Waiting, expires_at: str) -> None:
        self._connection.execute(
            "UPDATE outbox SET expires_at = ? WHERE number = ?", (expires_at, waiting.number)
        )

    def under_way(self, epoch: int) -> tuple[Waiting, ...]:
        """Messages that a process works on."""
        return self._waiting("in_flight = ?", epoch)

    def expired(self, now: str, most: int) -> tuple[Waiting, ...]:
        """Messages that have waited for too long."""
        return self._waiting("next_attempt_at IS NOT NULL AND expires_at <= ? LIMIT ?", now, most)

    def _waiting(self, condition: str, *values: Any) -> tuple[Waiting, ...]:
        rows = self._run(
            "SELECT number, id, size, attempts, in_flight, recipients FROM outbox "  # noqa: S608
            f"WHERE tenant = ? AND gateway = ? AND {condition}",
            *values,
        )
        return tuple(
            Waiting(number, name, size, attempts, owner, recipients_from(text))
            for number, name, size, attempts, owner, text in rows
        )

    def _drop_content(self, waiting: Waiting) -> None:
        """What is settled is never sent again."""
        dropped = self._connection.execute(
            "DELETE FROM outbox_content WHERE message = ?", (waiting.number,)
        )
        if dropped.rowcount:
            tenant, gateway = self._gateway
            Outbox(self._connection, tenant).count(gateway, -1, -waiting.size)

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, (*self._gateway, *values))


def settled(
    recipients: Iterable[Recipient],
    of: Callable[[Recipient], bool],
    state: RecipientState,
    answer: str,
    *,
    attempts: int = 0,
) -> tuple[Recipient, ...]:
    """Some recipients in another state, after so many attempts more; what was said stays there."""
    return tuple(
        Recipient(
            one.address,
            state,
            f"{answer}: {one.answer}" if one.answer else answer,
            one.attempts + attempts,
        )
        if of(one)
        else one
        for one in recipients
    )


def is_queued(recipient: Recipient) -> bool:
    return recipient.state is RecipientState.QUEUED


def judge_interrupted(
    connection: sqlite3.Connection, epoch: int, noted: Noted | None, now: str
) -> None:
    """Settle what processes before the one of `epoch` left under way, when they ended.

    What was not noted as handed over is due again. Of the rest nobody can tell, and of nothing
    where there are no notes.
    """
    gateways = connection.execute(
        "SELECT DISTINCT tenant, gateway, in_flight FROM outbox "
        "WHERE in_flight <> 0 AND in_flight <> ?",
        (epoch,),
    ).fetchall()
    for tenant, gateway, owner in gateways:
        known = noted if noted and noted.epoch == owner else None
        judge_abandoned(Queue(connection, tenant, gateway), owner, known, now)


def judge_abandoned(queue: Queue, owner: int, noted: Noted | None, now: str) -> None:
    """The same for what one process has under way of one gateway, and no longer works on."""
    for waiting in queue.under_way(owner):
        fate = RecipientState.UNKNOWN
        if noted:
            fate = noted.fate(waiting.number, waiting.attempts)
        if fate is RecipientState.QUEUED:
            queue.put_back(waiting, now)
        else:
            recipients = settled(waiting.recipients, is_queued, fate, _STOPPED[fate], attempts=1)
            queue.record(waiting, recipients, now=now, due=now)
