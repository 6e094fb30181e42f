"""What a person decides about a message: to send it again, or to make no further attempt."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.clock import exact, stamp
from reconciler.errors import Blocked, NotThere
from reconciler.messages import Recipient, RecipientState, SentMessage
from reconciler.model import Actor
from reconciler.service.mail.outbox import Outbox
from reconciler.service.mail.queue import Queue, Waiting, settled
from reconciler.service.store import AuditEntry, Store

_OPEN: Final = frozenset({RecipientState.QUEUED, RecipientState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Decisions:
    """Somebody's about one gateway's messages, in a transaction of a caller's.

    Raises, with every method:
        NotThere: there is no such message.
        Blocked: an attempt is under way, so that its fate may be known in a moment.

    """

    connection: sqlite3.Connection
    tenant: str
    gateway: str
    actor: Actor
    now: datetime

    def resend(self, message_id: str, lifetime: timedelta) -> SentMessage:
        """Send again to those of whom nobody can tell whether they have it; some may get it twice.

        Where it is on its way again already, nothing is done. Raises Blocked if there is nobody.
        """
        queue, waiting = self._found(message_id)
        states = {one.state for one in waiting.recipients}
        if RecipientState.UNKNOWN in states:
            queue.extend(waiting, stamp(self.now + lifetime))
            again = [
                replace(one, state=RecipientState.QUEUED) if one.state in _OPEN else one
                for one in waiting.recipients
            ]
            self._store(queue, waiting, again, "message resend", message_id)
        elif RecipientState.QUEUED not in states:
            raise Blocked(
                f"message {message_id} is not sent again: what became of it is known",
                "to send the same once more, send it as another message",
            )
        return self._sent(message_id)

    def give_up(self, message_id: str) -> SentMessage:
        """Make no further attempt: it has failed for all that it is not known to have reached."""
        queue, waiting = self._found(message_id)
        if any(one.state in _OPEN for one in waiting.recipients):
            recipients = settled(
                waiting.recipients,
                lambda one: one.state in _OPEN,
                RecipientState.FAILED,
                "given up by request",
            )
            self._store(queue, waiting, recipients, "message give up", message_id)
        return self._sent(message_id)

    def _found(self, message_id: str) -> tuple[Queue, Waiting]:
        queue = Queue(self.connection, self.tenant, self.gateway)
        waiting = queue.find(message_id)
        if waiting is None:
            raise NotThere(
                f"gateway {self.gateway!r} has no such message",
                "a message is forgotten some weeks after it was settled",
            )
        if waiting.owner:
            raise Blocked(
                f"message {message_id} is being sent at this moment", "ask again in a minute"
            )
        return queue, waiting

    def _store(
        self,
        queue: Queue,
        waiting: Waiting,
        recipients: Sequence[Recipient],
        action: str,
        message_id: str,
    ) -> None:
        queue.record(waiting, recipients, now=stamp(self.now), due=exact(self.now))
        Store(self.connection, self.tenant).write_audit(
            AuditEntry(
                at=stamp(self.now),
                actor=self.actor.name,
                commit=self.actor.commit,
                run=self.actor.run,
                gateway=self.gateway,
                action=action,
                revision="0",
                changes=json.dumps([{"message": message_id}]),
                token=self.actor.token,
            )
        )

    def _sent(self, message_id: str) -> SentMessage:
        sent = Outbox(self.connection, self.tenant).find(self.gateway, message_id)
        assert sent  # noqa: S101 - it was found in the same transaction
        return sent
