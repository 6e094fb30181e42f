"""What is counted while the service runs, on a registry of its own.

No label names a tenant, a gateway, a host or an address: each has few values, known beforehand.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters that the parts of the service raise; only ever used on the event loop."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Histogram(
            "gateways_http_request_duration_seconds",
            "Time to answer an API request, by method and path of the route.",
            ("method", "route"),
            buckets=_FAST,
            registry=registry,
        )
        self.answers = Counter(
            "gateways_http_requests",
            "API requests that were answered, by method, path of the route and class of status.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.commits = Histogram(
            "gateways_database_commit_duration_seconds",
            "Time until a transaction was on disk.",
            buckets=_FAST,
            registry=registry,
        )
        self.sent = Counter(
            "gateways_messages_sent",
            "Recipients of outgoing messages whose outcome became known: sent, failed, unknown.",
            ("outcome",),
            registry=registry,
        )
        self.received = Counter(
            "gateways_messages_received",
            "Messages that came in, by protocol.",
            ("protocol",),
            registry=registry,
        )
        self.message_bytes = Counter(
            "gateways_message_bytes",
            "Bytes of messages: in (received), out (sent, once for each transaction).",
            ("direction",),
            registry=registry,
        )
        self.deliveries = Counter(
            "gateways_webhook_attempts",
            "Attempts to announce a message to a webhook: taken, failed, gone.",
            ("outcome",),
            registry=registry,
        )
        for family, values in (
            (self.sent, ("sent", "failed", "unknown")),
            (self.received, ("IMAP", "POP3")),
            (self.message_bytes, ("in", "out")),
            (self.deliveries, ("taken", "failed", "gone")),
        ):
            for value in values:  # a series that begins at 1 shows no increase
                family.labels(value)
        self.given_up = Counter(
            "gateways_webhook_given_up",
            "Announcements that were given up; they are kept, and can be sent again.",
            registry=registry,
        )
