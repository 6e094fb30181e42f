"""The rows of one tenant's outgoing messages: what was accepted, and what has become of it."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.messages import (
    MessageKind,
    MessageState,
    Recipient,
    RecipientState,
    SentMessage,
)
from reconciler.model import StatusState
from reconciler.service.mail.compose import Composed

PIECE: Final = 256 * 1024
"""How much of a message one row holds, about."""

_LINE_END: Final = b"\r\n"
_COLUMNS: Final = (
    "id, gateway, kind, state, message_id, created_at, size, recipients, next_attempt_at, "
    "expires_at, finished_at, (SELECT status FROM gateways WHERE gateways.tenant = outbox.tenant "
    "AND gateways.name = outbox.gateway)"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is stored of a message beside its bytes. `due` is exact: it is the order of sending."""

    id: str
    gateway: str
    kind: MessageKind
    request: str
    created_at: str
    expires_at: str
    due: str


@dataclass(frozen=True, slots=True)
class Queued:
    """How much of a gateway's mail is kept: messages that are not settled, and their bytes."""

    messages: int
    bytes: int


class Outbox:
    """One tenant's, over one connection; writing needs a caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, tenant: str) -> None:
        self._connection = connection
        self.tenant = tenant

    def request_of(self, message_id: str) -> str | None:
        """The digest of what an id was given for; None if it was never given."""
        row = self._run("SELECT request FROM outbox WHERE tenant = ? AND id = ?", message_id)
        found = row.fetchone()
        return found[0] if found else None

    def find(self, gateway: str, message_id: str) -> SentMessage | None:
        row = self._run(
            f"SELECT {_COLUMNS} FROM outbox "  # noqa: S608 - constants
            "WHERE tenant = ? AND gateway = ? AND id = ?",
            gateway,
            message_id,
        ).fetchone()
        return self._restore(row) if row else None

    def listed(
        self, gateway: str, *, state: MessageState | None, after: str, limit: int
    ) -> tuple[SentMessage, ...]:
        """Messages in the order of acceptance, those after one of them, or from the first kept."""
        wanted, held = _condition(state)
        rows = self._run(
            f"SELECT {_COLUMNS} FROM outbox WHERE tenant = ? AND gateway = ? "  # noqa: S608
            "AND number > coalesce((SELECT number FROM outbox WHERE tenant = ? AND id = ?), 0) "
            f"AND (? IS NULL OR state = ?) {held} ORDER BY number LIMIT ?",
            gateway,
            self.tenant,
            after,
            wanted,
            wanted,
            limit,
        ).fetchall()
        return tuple(self._restore(row) for row in rows)

    def add(self, accepted: Accepted, composed: Composed, *, held: bool) -> SentMessage:
        """Store a message that is due, and say how it stands; counting it is left to the caller."""
        pieces = tuple(_pieces(composed.content))
        waiting = [Recipient(one, RecipientState.QUEUED) for one in composed.recipients]
        row = self._connection.execute(
            "INSERT INTO outbox (tenant, id, gateway, kind, message_id, sender, utf8, size, parts, "
            "request, recipients, state, created_at, expires_at, next_attempt_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
            (
                self.tenant,
                accepted.id,
                accepted.gateway,
                accepted.kind.value,
                composed.message_id,
                composed.sender,
                composed.utf8,
                len(composed.content),
                len(pieces),
                accepted.request,
                recipients_text(waiting),
                MessageState.QUEUED.value,
                accepted.created_at,
                accepted.expires_at,
                accepted.due,
            ),
        ).fetchone()
        self._connection.executemany(
            "INSERT INTO outbox_content VALUES (?, ?, ?)",
            [(row[0], part, piece) for part, piece in enumerate(pieces)],
        )
        return SentMessage(
            accepted.id,
            accepted.gateway,
            accepted.kind,
            MessageState.HELD if held else MessageState.QUEUED,
            composed.message_id,
            accepted.created_at,
            len(composed.content),
            tuple(waiting),
            None if held else shown(accepted.due),
            accepted.expires_at,
        )

    def count(self, gateway: str, messages: int, size: int) -> Queued:
        """Count what is kept of a gateway's mail; how much it is then."""
        row = self._connection.execute(
            "INSERT INTO outbox_queues VALUES (?, ?, ?, ?) ON CONFLICT (tenant, gateway) DO UPDATE "
            "SET messages = outbox_queues.messages + excluded.messages, "
            "bytes = outbox_queues.bytes + excluded.bytes RETURNING messages, bytes",
            (self.tenant, gateway, messages, size),
        ).fetchone()
        return Queued(*row)

    def _restore(self, row: Sequence[Any]) -> SentMessage:
        message_id, gateway, kind, state, header_id, created, size, recipients, *rest = row
        due, expires, finished, status = rest
        held = state == MessageState.QUEUED.value and status == StatusState.DISCONNECTED.value
        return SentMessage(
            message_id,
            gateway,
            MessageKind(kind),
            MessageState.HELD if held else MessageState(state),
            header_id,
            created,
            size,
            recipients_from(recipients),
            shown(due) if due and not held else None,
            None if finished else expires,
        )

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, (self.tenant, *values))


def shown(moment: str) -> str:
    """An exact moment in whole seconds, as people read it."""
    return moment.partition(".")[0] + "Z"


def recipients_text(recipients: Iterable[Recipient]) -> str:
    """As the database has them."""
    return json.dumps(
        [(one.address, one.state.value, one.answer, one.attempts) for one in recipients]
    )


def recipients_from(text: str) -> tuple[Recipient, ...]:
    return tuple(
        Recipient(address, RecipientState(state), answer, attempts)
        for address, state, answer, attempts in json.loads(text)
    )


def state_of(recipients: Iterable[Recipient]) -> MessageState:
    """The state of a message by those of its recipients, whatever its gateway's."""
    found = {one.state for one in recipients}
    if RecipientState.QUEUED in found:
        return MessageState.QUEUED
    if RecipientState.UNKNOWN in found:
        return MessageState.UNKNOWN
    if found == {RecipientState.SENT}:
        return MessageState.SENT
    return MessageState.PARTLY_SENT if RecipientState.SENT in found else MessageState.FAILED


def _condition(state: MessageState | None) -> tuple[str | None, str]:
    """The stored state that is wanted, and what tells held from queued, which is not stored."""
    disconnected = (
        "AND {}EXISTS (SELECT 1 FROM gateways WHERE gateways.tenant = outbox.tenant "
        "AND gateways.name = outbox.gateway AND gateways.status = 'disconnected')"
    )
    match state:
        case None:
            return None, ""
        case MessageState.HELD:
            return MessageState.QUEUED.value, disconnected.format("")
        case MessageState.QUEUED:
            return state.value, disconnected.format("NOT ")
        case _:
            return state.value, ""


def _pieces(content: bytes) -> Iterator[bytes]:
    """Whole lines, so that each piece begins where a line does; a line is never longer than one."""
    start = 0
    while start < len(content):
        end = len(content)
        if end - start > PIECE:
            end = content.rindex(_LINE_END, start, start + PIECE) + len(_LINE_END)
        yield content[start:end]
        start = end
