"""What is still to be told to each webhook, and in which order.

A row of the queue is made in the transaction in which the message is listed, and removed once the
target has taken it. In between it is kept whatever happens: an announcement is made at least once.
"""

import sqlite3
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

WEBHOOK: Final = (
    "id, tenant, gateway, url, created_at, failures, failing_since, opens_at, answer, disabled_at"
)
DELIVERY: Final = (
    "number, webhook, gateway, message, state, created_at, attempts, first_attempt_at, "
    "next_attempt_at, answer"
)

_LAST: Final = "~"
"""After every name of a gateway."""


class DeliveryState(StrEnum):
    """An announcement that was taken has no state: it is no longer there."""

    WAITING = "waiting"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where messages of one gateway, or of all (None), are announced.

    `failures` are those in a row since `failing_since`; nothing is tried before `opens_at`.
    `answer` is the last word on a failure. Disabled it is by the target itself, by an answer 410.
    """

    id: str
    tenant: str
    gateway: str | None
    url: str
    created_at: str
    failures: int = 0
    failing_since: str | None = None
    opens_at: str = ""
    answer: str = ""
    disabled_at: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that one webhook is still to be told of, or that was given up."""

    number: int
    webhook: str
    gateway: str
    message: str
    state: DeliveryState
    created_at: str
    attempts: int
    first_attempt_at: str | None
    next_attempt_at: str
    answer: str


@dataclass(frozen=True, slots=True)
class Queue:
    """Over one open connection; what writes needs a caller's transaction. Times are `exact`."""

    connection: sqlite3.Connection

    def webhooks(self) -> tuple[Webhook, ...]:
        """Every tenant's."""
        rows = self.connection.execute(f"SELECT {WEBHOOK} FROM webhooks")  # noqa: S608 - constants
        return tuple(Webhook(*row) for row in rows)

    def find(self, webhook_id: str) -> Webhook | None:
        """The webhook, unless it was removed."""
        row = self.connection.execute(
            f"SELECT {WEBHOOK} FROM webhooks WHERE id = ?",  # noqa: S608 - constants
            (webhook_id,),
        ).fetchone()
        return Webhook(*row) if row else None

    def removed(self) -> tuple[str, ...]:
        """Webhooks that are no longer there, of which something is left to be told."""
        rows = self.connection.execute(
            "SELECT DISTINCT webhook FROM deliveries WHERE webhook NOT IN (SELECT id FROM webhooks)"
        )
        return tuple(row[0] for row in rows)

    def clear(self, webhook_id: str, most: int) -> bool:
        """Clear away what a removed webhook was still to be told; whether there may be more."""
        cleared = self.connection.execute(
            "DELETE FROM deliveries WHERE number IN "
            "(SELECT number FROM deliveries WHERE webhook = ? LIMIT ?)",
            (webhook_id, most),
        )
        return cleared.rowcount == most

    def due(
        self, webhook: Webhook, after: str, busy: AbstractSet[str], wanted: int, now: str
    ) -> list[Delivery]:
        """The first that is due of each of some gateways, in turn from after a name.

        None of a gateway that is busy: its messages are told one after the other.
        """
        found: list[Delivery] = []
        for start, until in ((after, _LAST), ("", after)):
            beyond = start
            while len(found) < wanted and (row := self._first(webhook, beyond, until, now)):
                beyond = row.gateway
                if beyond not in busy:
                    found.append(row)
        return found

    def _first(self, webhook: Webhook, beyond: str, until: str, now: str) -> Delivery | None:
        row = self.connection.execute(
            f"SELECT {DELIVERY} FROM deliveries "  # noqa: S608 - constants
            "WHERE webhook = ? AND state = ? AND gateway > ? AND gateway <= ? "
            "AND next_attempt_at <= ? ORDER BY gateway, number LIMIT 1",
            (webhook.id, DeliveryState.WAITING.value, beyond, until, now),
        ).fetchone()
        return read_delivery(row) if row else None

    def soonest(self, webhook: Webhook) -> str | None:
        """When the next of a webhook is due; None if nothing waits."""
        found: str | None = self.connection.execute(
            "SELECT min(next_attempt_at) FROM deliveries WHERE webhook = ? AND state = ?",
            (webhook.id, DeliveryState.WAITING.value),
        ).fetchone()[0]
        return found

    def taken(self, delivery: Delivery) -> None:
        """The target has it: nothing is left to be told, and the target works.

        If it did not before, what was put off meanwhile is due at once; but a second time it is
        not, since what fails again and again though the target works has itself to blame.
        """
        self.connection.execute("DELETE FROM deliveries WHERE number = ?", (delivery.number,))
        recovered = self.connection.execute(
            "UPDATE webhooks SET failures = 0, failing_since = NULL, opens_at = '', answer = '' "
            "WHERE id = ? AND failing_since IS NOT NULL",
            (delivery.webhook,),
        ).rowcount
        if recovered:
            self.connection.execute(
                "UPDATE deliveries SET next_attempt_at = '', spared = 1 WHERE webhook = ? "
                "AND state = 'waiting' AND attempts >= 3 AND spared = 0",
                (delivery.webhook,),
            )

    def failed(self, delivery: Delivery, words: str, now: str, again_at: str | None) -> None:
        """Note an attempt; None for `again_at` gives it up."""
        state = DeliveryState.WAITING if again_at else DeliveryState.GIVEN_UP
        self.connection.execute(
            "UPDATE deliveries SET state = ?, attempts = attempts + 1, answer = ?, "
            "first_attempt_at = coalesce(first_attempt_at, ?), next_attempt_at = ? "
            "WHERE number = ? AND webhook = ? AND state = ?",
            (
                state.value,
                words,
                now,
                again_at or "",
                delivery.number,
                delivery.webhook,
                DeliveryState.WAITING.value,
            ),
        )

    def pause(self, webhook: Webhook, words: str, now: str, opens_at: str) -> None:
        """Note that the target failed once more, and leave it alone for a while."""
        self.connection.execute(
            "UPDATE webhooks SET failures = failures + 1, answer = ?, opens_at = ?, "
            "failing_since = coalesce(failing_since, ?) WHERE id = ?",
            (words, opens_at, now, webhook.id),
        )

    def disable(self, webhook: Webhook, words: str, now: str) -> None:
        """The target wants no more; what it was still to be told stays."""
        self.connection.execute(
            "UPDATE webhooks SET disabled_at = ?, answer = ? WHERE id = ? AND disabled_at IS NULL",
            (now, words, webhook.id),
        )


def announce(connection: sqlite3.Connection, number: int, now: str) -> None:
    """Have a message of the inbox told to every webhook that wants it; within a transaction."""
    connection.execute(
        "INSERT INTO deliveries (webhook, gateway, message, created_at) "
        "SELECT webhooks.id, inbox.gateway, inbox.id, ? FROM inbox JOIN webhooks "
        "ON webhooks.tenant = inbox.tenant AND webhooks.disabled_at IS NULL "
        "AND (webhooks.gateway IS NULL OR webhooks.gateway = inbox.gateway) "
        "WHERE inbox.number = ?",
        (now, number),
    )


def read_delivery(row: Sequence[Any]) -> Delivery:
    number, webhook, gateway, message, state, *rest = row
    return Delivery(number, webhook, gateway, message, DeliveryState(state), *rest)
