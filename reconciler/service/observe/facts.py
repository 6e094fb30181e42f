"""What is counted when metrics are asked for: a few questions to the database, and the disk."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily

from reconciler.model import FailureKind
from reconciler.service.refusals import MAX_REFUSALS


@dataclass(frozen=True, slots=True)
class Facts:
    """Sizes and ages of queues, in bytes and seconds; failures by kind are those that last."""

    failed: Mapping[str, int]
    parked: int
    outbox: Mapping[str, int]
    outbox_age: float
    webhooks: Mapping[str, int]
    announcements: Mapping[str, int]
    announcement_age: float
    database_bytes: int
    free_bytes: int


def gather(connection: sqlite3.Connection, database: Path, now: datetime) -> Facts:
    """Every tenant's together."""
    disk = os.statvfs(database.parent)
    return Facts(
        _by_word(connection, _FAILED),
        _number(connection, _PARKED, MAX_REFUSALS),
        _by_word(connection, _OUTBOX),
        _age(connection, _OLDEST_QUEUED, now),
        _by_word(connection, _WEBHOOKS),
        _by_word(connection, _ANNOUNCEMENTS),
        _age(connection, _OLDEST_ANNOUNCEMENT, now),
        _number(connection, "PRAGMA page_count") * _number(connection, "PRAGMA page_size"),
        disk.f_bavail * disk.f_frsize,
    )


def families(facts: Facts) -> Iterator[GaugeMetricFamily]:
    failed = GaugeMetricFamily(
        "gateways_failed", "Gateways whose status is failed, by kind.", labels=["kind"]
    )
    for kind in FailureKind:
        failed.add_metric([kind.value], facts.failed.get(kind.value, 0))
    yield failed
    yield GaugeMetricFamily(
        "gateways_parked_credentials",
        "Logins that were refused so often that they are not tried until they change.",
        facts.parked,
    )
    yield _by_state(
        "gateways_outbox_messages",
        "Messages in the outbox by state: held is queued for a disconnected gateway.",
        facts.outbox,
        ("queued", "held", "unknown"),
    )
    yield GaugeMetricFamily(
        "gateways_outbox_oldest_age_seconds",
        "Age of the oldest message that is queued; 0 where there is none.",
        facts.outbox_age,
    )
    yield _by_state(
        "gateways_webhooks",
        "Webhooks by state.",
        facts.webhooks,
        ("working", "failing", "disabled"),
    )
    yield _by_state(
        "gateways_webhook_announcements",
        "Announcements that a webhook was not told, by state.",
        facts.announcements,
        ("waiting", "given up"),
    )
    yield GaugeMetricFamily(
        "gateways_webhook_oldest_age_seconds",
        "Age of the oldest announcement that waits for an enabled webhook; 0 if there is none.",
        facts.announcement_age,
    )
    yield GaugeMetricFamily(
        "gateways_database_size_bytes", "Size of the database.", facts.database_bytes
    )
    yield GaugeMetricFamily(
        "gateways_disk_free_bytes",
        "What this process may still write to the disk of the database.",
        facts.free_bytes,
    )


def _by_state(
    name: str, about: str, counted: Mapping[str, int], states: tuple[str, ...]
) -> GaugeMetricFamily:
    """Every state is there, also where nothing is in it: a missing one looks like a fault."""
    family = GaugeMetricFamily(name, about, labels=["state"])
    for state in states:
        family.add_metric([state], counted.get(state, 0))
    return family


_FAILED = "SELECT failure_kind, count(*) FROM gateways WHERE status = 'failed' GROUP BY 1"

_PARKED = (
    "SELECT count(*) FROM (SELECT 1 FROM refusals GROUP BY tenant, credential "
    "HAVING sum(logins) >= ?)"
)

# written so that only indexes are read, and of those that are settled the few in trouble
_OUTBOX = (
    "SELECT CASE WHEN status = 'disconnected' THEN 'held' ELSE 'queued' END, sum(waiting) "
    "FROM (SELECT tenant, gateway, count(*) AS waiting FROM outbox "
    "WHERE next_attempt_at IS NOT NULL GROUP BY tenant, gateway) AS queues "
    "LEFT JOIN gateways ON gateways.tenant = queues.tenant AND name = gateway GROUP BY 1 "
    "UNION ALL SELECT 'queued', count(*) FROM outbox WHERE in_flight <> 0 "
    "UNION ALL SELECT state, count(*) FROM outbox "
    "WHERE state IN ('failed', 'partly sent', 'unknown') AND state = 'unknown' GROUP BY state"
)

# what is held for a disconnected gateway may wait for ever
_OLDEST_QUEUED = (
    "SELECT min(outbox.created_at) FROM (SELECT tenant, gateway, min(number) AS first FROM ("
    "SELECT tenant, gateway, number FROM outbox WHERE next_attempt_at IS NOT NULL "
    "UNION ALL SELECT tenant, gateway, number FROM outbox WHERE in_flight <> 0) AS open "
    "GROUP BY tenant, gateway) AS queues "
    "JOIN gateways ON gateways.tenant = queues.tenant AND name = queues.gateway "
    "AND status <> 'disconnected' JOIN outbox ON number = first"
)

_WEBHOOKS = (
    "SELECT CASE WHEN disabled_at IS NOT NULL THEN 'disabled' "
    "WHEN failures > 0 THEN 'failing' ELSE 'working' END, count(*) FROM webhooks GROUP BY 1"
)

_ANNOUNCEMENTS = (
    "SELECT 'waiting', count(*) FROM deliveries "
    "UNION ALL SELECT 'waiting', -count(*) FROM deliveries WHERE state = 'given up' "
    "UNION ALL SELECT 'given up', count(*) FROM deliveries WHERE state = 'given up'"
)

# the first in order is the oldest
_OLDEST_ANNOUNCEMENT = (
    "SELECT deliveries.created_at FROM deliveries JOIN webhooks ON webhooks.id = webhook "
    "WHERE state = 'waiting' AND disabled_at IS NULL ORDER BY number LIMIT 1"
)


def _by_word(connection: sqlite3.Connection, question: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for word, count in connection.execute(question):
        found[word] = found.get(word, 0) + count
    return found


def _number(connection: sqlite3.Connection, question: str, *values: int) -> int:
    return int(connection.execute(question, values).fetchone()[0])


def _age(connection: sqlite3.Connection, question: str, now: datetime) -> float:
    row = connection.execute(question).fetchone()
    if row is None or row[0] is None:
        return 0
    return max(0.0, (now - datetime.fromisoformat(row[0])).total_seconds())
