"""Metrics as Prometheus reads them: what was counted, and what there is now."""

import platform
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from reconciler import __version__
from reconciler.model import FailureKind, ProtocolType, StatusState
from reconciler.service.observe.facts import Facts, families
from reconciler.service.observe.metrics import Metrics
from reconciler.service.supervisor.facts import Counts


def exposition(metrics: Metrics, counts: Counts, facts: Facts | None, now: datetime) -> bytes:
    """The text of /metrics; without facts where the database cannot be asked."""
    return generate_latest(_All(metrics, counts, facts, now))


class _All(CollectorRegistry):
    """One scrape. Without the moment at which each counter was made: that doubles its lines."""

    def __init__(
        self, metrics: Metrics, counts: Counts, facts: Facts | None, now: datetime
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self._counts = counts
        self._facts = facts
        self._now = now

    def collect(self) -> Iterator[Metric]:
        for family in self._metrics.registry.collect():
            family.samples = [one for one in family.samples if not one.name.endswith("_created")]
            yield family
        yield from _of_sessions(self._counts, self._now)
        yield GaugeMetricFamily(
            "gateways_database_up",
            "Whether the database can be asked; if not, what it says of queues is missing here.",
            int(self._facts is not None),
        )
        if self._facts:
            yield from families(self._facts)
        yield InfoMetricFamily(
            "gateways_build",
            "What is running.",
            {
                "version": __version__,
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
            },
        )


def _of_sessions(counts: Counts, now: datetime) -> Iterator[Metric]:
    sessions = GaugeMetricFamily(
        "gateways_sessions",
        "Gateways of this process, by protocol and status of their session.",
        labels=["protocol", "status"],
    )
    for protocol in ProtocolType:
        for status in StatusState:
            number = counts.sessions.get((protocol, status), 0)
            sessions.add_metric([protocol.value, status.value], number)
    yield sessions
    failures = CounterMetricFamily(
        "gateways_session_failures",
        "Sessions that could not be opened, or were lost, by kind.",
        labels=["kind"],
    )
    for kind in FailureKind:
        failures.add_metric([kind.value], counts.failures.get(kind, 0))
    yield failures
    yield CounterMetricFamily(
        "gateways_session_reconnects", "Sessions that were opened again.", counts.reconnects
    )
    yield GaugeMetricFamily(
        "gateways_sessions_waiting",
        "Gateways that wait for their turn to connect.",
        counts.waiting,
    )
    expiring = GaugeMetricFamily(
        "gateways_certificates_expiring",
        "Gateways whose mail server's certificate ends within so many days, or has ended.",
        labels=["days"],
    )
    for days in (7, 14, 30):
        last = now + timedelta(days=days)
        expiring.add_metric([str(days)], sum(end <= last for end in counts.certificates))
    yield expiring
