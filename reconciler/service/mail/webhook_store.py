"""A tenant's webhooks: where received messages are announced, and what is still to be told."""

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from reconciler.clock import Clock, exact, stamp
from reconciler.errors import Blocked, KeyReused, PlatformUnavailable
from reconciler.model import Secret
from reconciler.service.mail.webhook_queue import (
    DELIVERY,
    WEBHOOK,
    Delivery,
    DeliveryState,
    Webhook,
    read_delivery,
)
from reconciler.service.mail.webhook_signature import make_secret
from reconciler.service.store import Store
from reconciler.service.vault import Binding, Vault

MAX_WEBHOOKS: Final = 50
MAX_SECRETS: Final = 5
ROTATION: Final = timedelta(days=1)
"""For how long announcements are signed with the secret before, too."""

REPEATABLE: Final = timedelta(days=1)

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LETTERS: Final = 16


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much of a webhook is in a state, and since when its oldest has been there."""

    count: int = 0
    oldest: str | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """What makes a request harmless to repeat: its key, and what tells it from another."""

    key: str | None
    request: str


ONCE: Final = Repeat(None, "")


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Over one open connection; what writes needs a caller's transaction."""

    connection: sqlite3.Connection
    tenant: str
    vault: Vault
    clock: Clock

    def register(
        self, url: str, gateway: str | None, repeat: Repeat = ONCE
    ) -> tuple[Webhook, Secret, bool]:
        """A webhook, its secret, and whether it is new.

        Raises:
            KeyReused: the key was used for another request.
            Blocked: there are too many.
            PlatformUnavailable: the service has no key to keep a secret with.

        """
        if found := self._made_for(repeat):
            return *found, False
        if len(self.listed()) >= MAX_WEBHOOKS:
            raise Blocked(f"there are {MAX_WEBHOOKS} webhooks already", "remove one first")
        webhook_id = "wh_" + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LETTERS))
        webhook = Webhook(webhook_id, self.tenant, gateway, url, stamp(self.clock()))
        self.connection.execute(
            "INSERT INTO webhooks (id, tenant, gateway, url, created_at) VALUES (?, ?, ?, ?, ?)",
            (webhook.id, self.tenant, gateway, url, webhook.created_at),
        )
        return webhook, self._add_secret(webhook, 1, repeat), True

    def listed(self) -> tuple[Webhook, ...]:
        rows = self.connection.execute(
            f"SELECT {WEBHOOK} FROM webhooks WHERE tenant = ? ORDER BY created_at, id",  # noqa: S608 - constants
            (self.tenant,),
        )
        return tuple(Webhook(*row) for row in rows)

    def find(self, webhook_id: str) -> Webhook | None:
        row = self.connection.execute(
            f"SELECT {WEBHOOK} FROM webhooks WHERE tenant = ? AND id = ?",  # noqa: S608 - constants
            (self.tenant, webhook_id),
        ).fetchone()
        return Webhook(*row) if row else None

    def remove(self, webhook: Webhook) -> None:
        """What it was still to be told is cleared away afterwards."""
        self.connection.execute(
            "DELETE FROM webhooks WHERE tenant = ? AND id = ?", (self.tenant, webhook.id)
        )

    def rotate(self, webhook: Webhook, repeat: Repeat = ONCE) -> tuple[Secret, bool]:
        """A secret, and whether it is new; those before it are signed with too, for a day from now.

        Raises:
            KeyReused: the key was used for another webhook.
            Blocked: it was rotated too often within a day.
            PlatformUnavailable: the service has no key to keep a secret with.

        """
        if found := self._made_for(repeat):
            return found[1], False
        now = self.clock()
        self.connection.execute(
            "DELETE FROM webhook_secrets WHERE webhook = ? AND ends_at <= ?",
            (webhook.id, exact(now)),
        )
        count, last = self.connection.execute(
            "SELECT count(*), max(number) FROM webhook_secrets WHERE webhook = ?", (webhook.id,)
        ).fetchone()
        if count >= MAX_SECRETS:
            raise Blocked(
                f"announcements are signed with {count} secrets already",
                "a secret ends a day after the next one was made: wait until one has ended",
            )
        self.connection.execute(
            "UPDATE webhook_secrets SET ends_at = ? WHERE webhook = ? AND ends_at IS NULL",
            (exact(now + ROTATION), webhook.id),
        )
        return self._add_secret(webhook, last + 1, repeat), True

    def secret_ends(self, webhook: Webhook) -> tuple[str | None, ...]:
        """Until when each secret is signed with, the current one (no end) first."""
        rows = self.connection.execute(
            "SELECT ends_at FROM webhook_secrets WHERE webhook = ? "
            "AND (ends_at IS NULL OR ends_at > ?) ORDER BY number DESC",
            (webhook.id, exact(self.clock())),
        )
        return tuple(row[0] for row in rows)

    def keys(self, webhook: Webhook) -> tuple[Secret, ...]:
        """What an announcement is signed with now. Raises PlatformUnavailable."""
        rows = self.connection.execute(
            "SELECT number, sealed FROM webhook_secrets WHERE webhook = ? "
            "AND (ends_at IS NULL OR ends_at > ?) ORDER BY number DESC",
            (webhook.id, exact(self.clock())),
        ).fetchall()
        return tuple(self._open(webhook, number, sealed) for number, sealed in rows)

    def backlog(self, webhook: Webhook, state: DeliveryState) -> Backlog:
        return Backlog(
            *self.connection.execute(
                "SELECT count(*), min(created_at) FROM deliveries WHERE webhook = ? AND state = ?",
                (webhook.id, state.value),
            ).fetchone()
        )

    def deliveries(
        self, webhook: Webhook, state: DeliveryState, after: int, limit: int
    ) -> tuple[Delivery, ...]:
        """In the order in which the messages came, from after a number."""
        rows = self.connection.execute(
            f"SELECT {DELIVERY} FROM deliveries "  # noqa: S608 - constants
            "WHERE webhook = ? AND state = ? AND number > ? ORDER BY number LIMIT ?",
            (webhook.id, state.value, after, limit),
        )
        return tuple(read_delivery(row) for row in rows)

    def retry(self, webhook: Webhook, messages: Sequence[str] | None) -> int:
        """Make everything due now, what was given up too, and enable it if it was disabled.

        Given messages, of what was given up only theirs. Returns how many were given up till now.
        """
        chosen = "" if messages is None else f" AND message IN ({_marks(messages)})"
        anew = self.connection.execute(
            "UPDATE deliveries SET state = ?, attempts = 0, spared = 0, "  # noqa: S608 - constants and marks
            "first_attempt_at = NULL, next_attempt_at = '' "
            f"WHERE webhook = ? AND state = ?{chosen}",
            (
                DeliveryState.WAITING.value,
                webhook.id,
                DeliveryState.GIVEN_UP.value,
                *(messages or ()),
            ),
        ).rowcount
        self.connection.execute(
            "UPDATE deliveries SET next_attempt_at = '' "
            "WHERE webhook = ? AND state = ? AND next_attempt_at > ''",
            (webhook.id, DeliveryState.WAITING.value),
        )
        self.connection.execute(
            "UPDATE webhooks SET failures = 0, failing_since = NULL, opens_at = '', answer = '', "
            "disabled_at = NULL WHERE id = ?",
            (webhook.id,),
        )
        return anew

    def _made_for(self, repeat: Repeat) -> tuple[Webhook, Secret] | None:
        """What an earlier request with the same key was answered with; shown for a day, no longer.

        It may have been a secret that has been followed by another since.
        """
        if repeat.key is None:
            return None
        row = self.connection.execute(
            "SELECT number, sealed, request, webhook_secrets.created_at, webhook "
            "FROM webhook_secrets JOIN webhooks ON webhooks.id = webhook "
            "WHERE tenant = ? AND request_key = ?",
            (self.tenant, repeat.key),
        ).fetchone()
        if row is None:
            return None
        number, sealed, request, created_at, webhook_id = row
        webhook = self.find(webhook_id)
        if webhook is None or request != repeat.request or created_at <= self._day_ago():
            raise KeyReused(
                "the key of this request was used for another one",
                "give every request a key of its own, and the same only to repeat it unchanged",
            )
        return webhook, self._open(webhook, number, sealed)

    def _day_ago(self) -> str:
        return exact(self.clock() - REPEATABLE)

    def _add_secret(self, webhook: Webhook, number: int, repeat: Repeat) -> Secret:
        store = Store(self.connection, self.tenant)
        known = store.key_check()
        found = self.vault.unlock(known)
        if known is None:
            store.remember_key_check(found)
        secret = make_secret()
        sealed = self.vault.seal(secret, _binding(webhook, number))
        self.connection.execute(
            "INSERT INTO webhook_secrets VALUES (?, ?, ?, ?, NULL, ?, ?)",
            (webhook.id, number, sealed, exact(self.clock()), repeat.key, repeat.request),
        )
        return secret

    def _open(self, webhook: Webhook, number: int, sealed: bytes) -> Secret:
        self.vault.unlock(Store(self.connection, self.tenant).key_check())
        try:
            return self.vault.open(sealed, _binding(webhook, number))
        except PlatformUnavailable as error:
            raise PlatformUnavailable(
                f"the secret of webhook {webhook.id} was not stored for it, or was altered",
                "remove the webhook and register it anew, or restore a backup",
            ) from error


def secret_binding(tenant: str, webhook: str, url: str, number: int) -> Binding:
    """What a webhook's secret is sealed for."""
    return Binding(tenant, webhook, url, f"webhook secret {number}")


def _binding(webhook: Webhook, number: int) -> Binding:
    return secret_binding(webhook.tenant, webhook.id, webhook.url, number)


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" for _ in values)
