"""What /metrics shows: as its format demands, as the page says, and nobody's secret."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as families_of

from reconciler.model import FailureKind, ProtocolType, StatusState
from reconciler.service.http.health import Health
from reconciler.service.observe.exposition import exposition
from reconciler.service.observe.metrics import Metrics
from reconciler.service.service import Service
from reconciler.service.supervisor.facts import Counts
from reconciler.service.supervisor.supervisor import Supervisor
from tests.service.fleet import create, far_away
from tests.service.running import Idle, Running, running

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/observability.md").read_text()
ALERTS = yaml.safe_load((ROOT / "examples/prometheus/alerts.yml").read_text())
ROW = re.compile(r"^\| `([a-z_]+)` \| (gauge|counter|histogram) \|([^|]*)\|", re.MULTILINE)
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


async def scraped(run: Running) -> dict[str, Metric]:
    """As /metrics shows it now, not as it did within the last second."""
    text = (await Health(run.site)._exposition()).decode()
    return {family.name: family for family in families_of(text)}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    (found,) = [
        one.value
        for family in families.values()
        for one in family.samples
        if one.name == sample and labels.items() <= one.labels.items()
    ]
    return float(found)


def exposed_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


async def test_the_page_lists_what_is_exposed(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        families = await scraped(run)
    exposed = {
        (
            exposed_name(family),
            family.type,
            tuple(sorted({name for one in family.samples for name in one.labels} - {"le"})),
        )
        for family in families.values()
    }
    listed = {
        (name, kind, tuple(sorted(re.findall(r"`(\w+)`", labels))))
        for name, kind, labels in ROW.findall(PAGE)
    }
    assert listed == exposed


async def test_no_label_has_a_value_that_somebody_else_chooses(tmp_path: Path) -> None:
    """Whatever gateways there are and whatever is asked for, there are no other series."""
    async with running(tmp_path) as run:
        before = {name: series(family) for name, family in (await scraped(run)).items()}
        for number in range(20):
            await create(run.site.service, far_away(f"secret-name-{number}"))
        for path in ("/v1/gateways/secret-name-1", "/v1/elsewhere?secret=1", "/x", "/login"):
            async with run.http.request("GET", path, headers=await run.headers("read")):
                pass
        async with run.http.request("BREW", "/v1/gateways"):
            pass
        families = await scraped(run)
    assert {name: series(family) for name, family in families.items()} == before
    assert not any("secret" in text for one in before.values() for text in map(str, one))


def series(family: Metric) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {(one.name, tuple(sorted(one.labels.items()))) for one in family.samples}


async def test_over_http(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        async with run.http.get("/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            first = await answer.read()
        assert first.endswith(b"\n")
        assert {family.name for family in families_of(first.decode())} == set(await scraped(run))
        # asked again at once it costs nothing: anybody may ask
        async with run.http.get("/metrics") as answer:
            assert await answer.read() == first


async def test_queues(tmp_path: Path) -> None:
    async with running(tmp_path, clock=lambda: NOW) as run:
        for name in ("works", "off"):
            await create(run.site.service, far_away(name))
        await run.site.service.write(fill)
        families = await scraped(run)

    def count(sample: str, **labels: str) -> float:
        return value(families, sample, **labels)

    assert count("gateways_failed", kind="tcp") == 1
    assert count("gateways_failed", kind="auth") == 0
    assert count("gateways_parked_credentials") == 1
    assert count("gateways_outbox_messages", state="queued") == 2
    assert count("gateways_outbox_messages", state="held") == 1
    assert count("gateways_outbox_messages", state="unknown") == 1
    # of the one that is under way; what is held may wait for ever
    assert count("gateways_outbox_oldest_age_seconds") == 3_600
    assert count("gateways_webhooks", state="working") == 1
    assert count("gateways_webhooks", state="failing") == 1
    assert count("gateways_webhooks", state="disabled") == 1
    assert count("gateways_webhook_announcements", state="waiting") == 2
    assert count("gateways_webhook_announcements", state="given up") == 1
    # that of the disabled webhook is older
    assert count("gateways_webhook_oldest_age_seconds") == 7_200
    assert count("gateways_database_up") == 1
    assert count("gateways_database_size_bytes") > 100_000
    assert count("gateways_disk_free_bytes") > 0


def fill(connection: Any) -> None:
    connection.execute(
        "UPDATE gateways SET status = 'failed', failure_kind = 'tcp' WHERE name = 'works'"
    )
    connection.execute("UPDATE gateways SET status = 'disconnected' WHERE name = 'off'")
    for credential, logins in (("a", 3), ("b", 2)):
        connection.execute(
            "INSERT INTO refusals VALUES ('acme', ?, 'x', ?, '')", (credential, logins)
        )
    for number, (gateway, state, created, due, in_flight, finished) in enumerate(
        (
            ("off", "queued", "08:00:00", "2026-11-22T10:00:00.0Z", 0, None),
            ("works", "queued", "09:00:00", None, 1, None),
            ("works", "queued", "09:30:00", "2026-11-22T10:00:00.0Z", 0, None),
            ("works", "sent", "07:00:00", None, 0, "2026-11-22T07:00:00Z"),
            ("works", "unknown", "07:00:00", None, 0, "2026-11-22T07:00:00Z"),
        )
    ):
        connection.execute(
            "INSERT INTO outbox (tenant, kind, message_id, sender, utf8, size, parts, request, "
            "recipients, id, gateway, state, created_at, expires_at, next_attempt_at, in_flight, "
            "finished_at) "
            "VALUES ('acme', 'agent', '', '', 0, 1, 1, '', '[]', ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(number),
                gateway,
                state,
                f"2026-11-22T{created}Z",
                f"2026-11-27T{created}Z",
                due,
                in_flight,
                finished,
            ),
        )
    for name, failures, disabled in (("a", 0, None), ("b", 2, None), ("c", 9, "2026-11-22")):
        connection.execute(
            "INSERT INTO webhooks (id, tenant, url, created_at, failures, disabled_at) "
            "VALUES (?, 'acme', '', '', ?, ?)",
            (name, failures, disabled),
        )
    for name, state, created in (
        ("c", "waiting", "2026-11-22T01:00:00Z"),
        ("a", "given up", "2026-11-22T02:00:00Z"),
        ("b", "waiting", "2026-11-22T08:00:00Z"),
    ):
        connection.execute(
            "INSERT INTO deliveries (webhook, gateway, message, state, created_at) "
            "VALUES (?, 'works', '1', ?, ?)",
            (name, state, created),
        )


def test_sessions() -> None:
    counts = Counts(
        {(ProtocolType.IMAP, StatusState.SUCCEEDED): 7},
        reconnects=5,
        failures={FailureKind.TLS: 3},
        waiting=2,
        certificates=[NOW - timedelta(days=1), NOW + timedelta(days=10), NOW + timedelta(days=90)],
    )
    text = exposition(Metrics(), counts, None, NOW).decode()
    families = {family.name: family for family in families_of(text)}
    assert value(families, "gateways_sessions", protocol="IMAP", status="succeeded") == 7
    assert value(families, "gateways_sessions", protocol="SMTP", status="failed") == 0
    assert value(families, "gateways_session_reconnects_total") == 5
    assert value(families, "gateways_session_failures_total", kind="tls") == 3
    assert value(families, "gateways_sessions_waiting") == 2
    assert value(families, "gateways_certificates_expiring", days="7") == 1
    assert value(families, "gateways_certificates_expiring", days="14") == 2
    assert value(families, "gateways_certificates_expiring", days="30") == 2
    # the database could not be asked: that is told, and nothing is made up
    assert value(families, "gateways_database_up") == 0
    assert "gateways_outbox_messages" not in families


async def test_requests_and_commits_are_counted(tmp_path: Path) -> None:
    route = "/v1/gateways/{name}"
    async with running(tmp_path) as run:
        before = await scraped(run)
        for _ in range(3):
            async with run.http.get("/v1/gateways/a", headers=await run.headers("read")) as answer:
                assert answer.status == 404
        after = await scraped(run)

    def grown(sample: str, **labels: str) -> float:
        return value(after, sample, **labels) - value(before, sample, **labels)

    assert grown("gateways_http_requests_total", method="GET", route=route, status="4xx") == 3
    assert grown("gateways_http_requests_total", method="GET", route=route, status="2xx") == 0
    name = "gateways_http_request_duration_seconds"
    assert grown(f"{name}_count", method="GET", route=route) == 3
    assert grown(f"{name}_sum", method="GET", route=route) > 0
    # each token was a transaction
    assert grown("gateways_database_commit_duration_seconds_count") >= 3


async def test_two_services_in_one_process_count_apart(tmp_path: Path) -> None:
    async with (
        Service(tmp_path / "a.db", environment={}) as one,
        Service(tmp_path / "b.db", environment={}) as other,
    ):
        one.metrics.given_up.inc()
        assert other.metrics.given_up._value.get() == 0
        assert Supervisor(one).counts() == Idle(other).counts()


@pytest.mark.parametrize(
    "rule",
    [rule for group in ALERTS["groups"] for rule in group["rules"]],
    ids=lambda one: one["alert"],
)
def test_alerts_ask_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    listed = {name: kind for name, kind, _ in ROW.findall(PAGE)}
    samples = {"up"} | {
        name + tail
        for name, kind in listed.items()
        for tail in (("_bucket", "_count", "_sum") if kind == "histogram" else ("",))
    }
    expression = re.sub(r"\{[^}]*\}|\"[^\"]*\"|\[\w+\]", "", rule["expr"].replace("{name}", ""))
    named = set(re.findall(r"\b(?:gateways|process|python)_\w+|\bup\b", expression))
    assert named, "it asks for nothing"
    assert named <= samples
    assert f"`{rule['alert']}`" in PAGE
    assert rule["annotations"]["summary"].endswith((".", "%"))
    assert rule["labels"]["severity"] in {"warning", "critical"}
