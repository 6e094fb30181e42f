"""Webhooks over the API: registered, rotated, looked at, removed; their secret shown once."""

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.clock import stamp
from reconciler.model import EncryptionMode, Gateway, ProtocolType, Status, StatusState
from reconciler.service.http.contract import errors
from reconciler.service.mail.inbox import Arrived, Inbox, Summary
from reconciler.service.mail.webhook_queue import DeliveryState
from reconciler.service.service import ServiceSettings
from reconciler.service.sessions import SessionSettings
from reconciler.service.store import Store
from tests.service.http.api import Api
from tests.service.running import Running, running

URL = "https://desk.example.com/mail?key=quite-secret"


def everything_in(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in folder.iterdir())


class Calls(Api):
    """Status and data alone. Each answer is held to the published document."""

    async def ask(
        self, method: str, path: str, body: Any = None, **headers: Any
    ) -> tuple[int, Any]:
        answer = await self.call(method, path, body, **headers)
        return answer.status, answer.data


async def api(run: Running, role: str = "send", tenant: str = "acme") -> Calls:
    return Calls(run, await run.headers(role, tenant))


async def add_gateway(run: Running, name: str, protocol: ProtocolType) -> None:
    now = stamp(run.site.service.clock())
    gateway = Gateway(name, protocol, "mail.example.com", 25, encryption_mode=EncryptionMode.NONE)
    status = Status(StatusState.CONNECTING, now, now)
    await run.site.service.write(
        lambda connection: Store(connection, "acme").insert(gateway, "ours", status, now)
    )


async def arrive(run: Running, gateway: str = "support") -> None:
    arrived = Arrived("1:1", "", 9, Summary(subject="x"), b"Subject: x")
    now = stamp(run.site.service.clock())
    await run.site.service.write(
        lambda connection: Inbox(connection, "acme").list_(gateway, arrived, now)
    )


async def give_up(run: Running) -> None:
    await run.site.service.write(
        lambda connection: connection.execute(
            "UPDATE deliveries SET state = ?, attempts = 9, answer = 'answered 500'",
            (DeliveryState.GIVEN_UP.value,),
        )
    )


async def test_registered_shown_and_removed(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        status, made = await caller.ask("POST", "/v1/webhooks", {"url": URL})
        assert status == 201
        secret = made.pop("secret")
        assert errors("Webhook", made) == []
        assert (made["url"], made["gateway"], made["state"]) == (URL, None, "working")
        assert await caller.ask("GET", f"/v1/webhooks/{made['id']}") == (200, made)
        assert await caller.ask("GET", "/v1/webhooks") == (200, {"webhooks": [made]})
        assert (await caller.ask("DELETE", f"/v1/webhooks/{made['id']}"))[0] == 204
        assert (await caller.ask("DELETE", f"/v1/webhooks/{made['id']}"))[0] == 404
        assert await caller.ask("GET", "/v1/webhooks") == (200, {"webhooks": []})
    assert secret.startswith("whsec_")
    assert secret.removeprefix("whsec_").encode() not in everything_in(tmp_path)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://desk.example.com/", "http is for loopback alone"),
        ("ftp://desk.example.com/", "no https URL"),
        ("https://user:secret@desk.example.com/", "neither user nor password"),
        ("https://desk.example.com/#top", "fragment"),
        ("https://", "no https URL"),
        ("https:///path", "host"),
        ("https://[::1/", "no URL"),
        ("https://desk.example.com:99999/", "no URL"),
        ("https://desk.example.com/a b", "no https URL"),
        ("https://desk.example.com/\r\nX: y", "no https URL"),
        ("https://bücher.example/", "in ASCII"),
        ("https://desk.example.com\\@10.0.0.1/", "no https URL"),
        ("https://desk.example.com/" + "a" * 2_000, "2000"),
        ("https://desk.example.com:25/", "port 25"),
        ("https://localhost/", "not public"),
        ("https://127.0.0.1/", "not public"),
        ("https://[::ffff:169.254.169.254]/", "not public"),
        ("https://169.254.169.254/latest/meta-data", "not public"),
        ("https://10.1.2.3/", "not public"),
    ],
)
async def test_urls_that_are_refused(tmp_path: Path, url: str, why: str) -> None:
    """A39."""
    deny = ServiceSettings(SessionSettings(private_hosts=False))
    async with running(tmp_path, settings=deny) as run:
        status, problem = await (await api(run)).ask("POST", "/v1/webhooks", {"url": url})
    assert status == 422
    assert problem["errors"][0]["field"] == "url"
    assert why in problem["detail"]
    assert "secret" not in json.dumps(problem)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "url"),
        ({"url": 7}, 422, "url"),
        ({"url": URL, "gateway": "none"}, 404, None),
        ({"url": URL, "gateway": "support-out"}, 422, "gateway"),
        ({"url": URL, "secret": "mine"}, 422, "secret"),
        ([], 422, ""),
    ],
)
async def test_bodies_that_are_refused(
    tmp_path: Path, body: Any, status: int, field: str | None
) -> None:
    async with running(tmp_path) as run:
        await add_gateway(run, "support-out", ProtocolType.SMTP)
        found, problem = await (await api(run)).ask("POST", "/v1/webhooks", body)
    assert found == status
    told = [one["field"] for one in problem.get("errors", [])]
    assert told == ([] if field is None else [field])


async def test_a_repeated_request_registers_once(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        first = await caller.ask("POST", "/v1/webhooks", {"url": URL}, Idempotency_Key="a")
        again = await caller.ask("POST", "/v1/webhooks", {"url": URL}, Idempotency_Key="a")
        other = await caller.ask("POST", "/v1/webhooks", {"url": URL + "2"}, Idempotency_Key="a")
        path = f"/v1/webhooks/{first[1]['id']}"
        turned = await caller.ask("POST", f"{path}/rotate", Idempotency_Key="b")
        repeat = await caller.ask("POST", f"{path}/rotate", Idempotency_Key="b")
        _, trail = await (await api(run, "read")).ask("GET", "/v1/audit")
    assert first == again
    assert (other[0], other[1]["type"]) == (422, "urn:gateways:problem:key-reused")
    assert turned == repeat
    assert turned[1]["secret"] != first[1]["secret"]
    actions = [one["action"] for one in trail["entries"]]
    assert actions == ["webhook add", "webhook rotate"]


async def test_no_more_secrets_than_a_receiver_can_follow(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        _, made = await caller.ask("POST", "/v1/webhooks", {"url": URL})
        path = f"/v1/webhooks/{made['id']}/rotate"
        statuses = [(await caller.ask("POST", path))[0] for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 409]


async def test_no_more_webhooks_than_a_tenant_needs(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        statuses = [(await caller.ask("POST", "/v1/webhooks", {"url": URL}))[0] for _ in range(51)]
    assert statuses == [*([201] * 50), 409]


async def test_what_was_given_up_is_seen_and_sent_again(tmp_path: Path) -> None:
    """G34."""
    async with running(tmp_path) as run:
        await add_gateway(run, "support", ProtocolType.IMAP)
        caller = await api(run)
        _, made = await caller.ask("POST", "/v1/webhooks", {"url": URL, "gateway": "support"})
        path = f"/v1/webhooks/{made['id']}"
        await arrive(run)
        _, waiting = await caller.ask("GET", f"{path}/deliveries?state=waiting")
        await give_up(run)
        status, page = await caller.ask("GET", f"{path}/deliveries")
        assert errors("DeliveryPage", page) == []
        assert status == 200
        assert [one["state"] for one in waiting["deliveries"]] == ["waiting"]
        (stuck,) = page["deliveries"]
        assert (stuck["gateway"], stuck["attempts"], stuck["answer"]) == (
            "support",
            9,
            "answered 500",
        )
        after = f"{path}/deliveries?after={page['cursor']}"
        assert await caller.ask("GET", after) == (200, {**page, "deliveries": []})
        assert (await caller.ask("GET", path))[1]["given_up"] == 1

        _, none = await caller.ask("POST", f"{path}/retry", {"messages": ["another"]})
        assert (none["retried"], none["given_up"]) == (0, 1)
        _, one = await caller.ask("POST", f"{path}/retry", {"messages": [stuck["message"]]})
        assert (one["retried"], one["given_up"], one["waiting"]) == (1, 0, 1)
        status, problem = await caller.ask("GET", f"{path}/deliveries?state=lost")
        assert (status, problem["errors"][0]["field"]) == (400, "state")


async def test_another_tenants_webhook_is_not_there(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        _, made = await (await api(run)).ask("POST", "/v1/webhooks", {"url": URL})
        other = await api(run, tenant="another")
        path = f"/v1/webhooks/{made['id']}"
        for method, tail, body in (
            ("GET", "", None),
            ("DELETE", "", None),
            ("POST", "/rotate", None),
            ("POST", "/retry", {}),
            ("GET", "/deliveries", None),
        ):
            assert (await other.ask(method, path + tail, body))[0] == 404
        assert await other.ask("GET", "/v1/webhooks") == (200, {"webhooks": []})
        assert (await (await api(run)).ask("GET", path))[0] == 200
