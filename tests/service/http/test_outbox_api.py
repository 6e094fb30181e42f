"""Sending over HTTP: what is accepted, what is refused and how, and what is told of it later."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.service.mail.settings import MessageLimits, OutboxSettings
from tests.service.http.api import Answer, Api, api, fresh_key, wish
from tests.service.running import LOOPBACK, running

PATH = "/v1/gateways/out/messages"
OUTBOX = "/v1/gateways/out/outbox"
SMTP = {
    "protocol_type": "SMTP",
    "port": 465,
    "default_email_address": "support@example.com",
    "encoding_mode": "ISO-8859-1",
}
MESSAGE = {
    "kind": "agent",
    "to": ["ann@example.org"],
    "subject": "Your question",
    "text": "Hello",
}


@asynccontextmanager
async def sender(folder: Path, **outbox: Any) -> AsyncIterator[Api]:
    """Somebody with a token to send, at a service that keeps no session."""
    settings = replace(LOOPBACK, outbox=OutboxSettings(**outbox))
    async with running(folder, settings=settings) as run:
        apply = await api(run)
        created = await apply.put("out", wish("out", **SMTP), If_None_Match="*")
        assert created.status == 201
        yield await api(run, "send")


async def send(caller: Api, body: Any = None, **headers: Any) -> Answer:
    return await caller.write("POST", PATH, body or MESSAGE, **headers)


async def test_accepted_and_found_again(tmp_path: Path) -> None:
    async with sender(tmp_path) as caller:
        accepted = await send(caller, {**MESSAGE, "cc": ["bob@example.org"], "html": None})
        assert (accepted.status, accepted.data["state"]) == (202, "queued")
        found = await caller.get(accepted.headers["Location"])
        assert found.data["id"] == accepted.data["id"]
        assert [one["address"] for one in found.data["recipients"]] == [
            "ann@example.org",
            "bob@example.org",
        ]
        page = await caller.get(OUTBOX)
        assert page.data == {"messages": [found.data], "cursor": found.data["id"]}
        for query, count in (("?state=queued", 1), ("?state=sent", 0), ("?limit=1", 1)):
            assert len((await caller.get(OUTBOX + query)).data["messages"]) == count
        assert (await caller.get(f"{OUTBOX}?after={found.data['id']}")).data["messages"] == []


async def test_a_repeated_request_is_one_message(tmp_path: Path) -> None:
    """A34: and the key with another body is refused, also for a long one."""
    async with sender(tmp_path) as caller:
        for body in (MESSAGE, {**MESSAGE, "text": "long " * 100_000}):
            key = fresh_key()
            first, again = [await send(caller, body, Idempotency_Key=key) for _ in range(2)]
            assert (first.status, first.data) == (again.status, again.data)
            other = await send(caller, {**body, "text": "another"}, Idempotency_Key=key)
            assert (other.status, other.slug) == (422, "key-reused")
        assert len((await caller.get(OUTBOX)).data["messages"]) == 2
        without = await caller.call("POST", PATH, MESSAGE)
        assert (without.status, without.slug) == (400, "key-required")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": []}, "to"),
        ({"to": ["nobody"]}, "to.0"),
        ({"to": ["ann@example.org", "a@b\r\nRCPT TO:<eve@example.org>"]}, "to.1"),
        ({"to": "ann@example.org"}, "to"),
        ({"to": [f"p{n}@example.org" for n in range(101)]}, "to"),
        ({"subject": "Hi\r\nBcc: eve@example.org"}, "subject"),
        ({"subject": "Hi\u2028Bcc: eve@example.org"}, "subject"),
        ({"subject": "世"}, "subject"),
        ({"text": "Hello 世界"}, "text"),
        ({"text": 7}, "text"),
        ({"html": "<p>世</p>"}, "html"),
        ({"kind": "letter"}, "kind"),
        ({"reply_to": "x"}, "reply_to"),
        ({"in_reply_to": "no brackets"}, "in_reply_to"),
        ({"message_id": "<a\nb>"}, "message_id"),
        ({"from": "boss@example.com"}, "from"),
        ({"attachments": [{"name": "a", "content_type": "x", "content": ""}]}, "attachments.0"),
        (
            {"attachments": [{"name": "a", "content_type": "text/plain", "content": "%"}]},
            "attachments",
        ),
        ({"attachments": [{"name": "a", "content_type": "text/plain"}]}, "attachments.0.content"),
    ],
)
async def test_what_is_unfit_is_told_by_its_field(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    """A33: and nothing of it is kept, nor repeated in the answer."""
    async with sender(tmp_path) as caller:
        answer = await send(caller, {**MESSAGE, **change})
        assert (answer.status, answer.slug) == (422, "invalid")
        assert answer.data["errors"][0]["field"].startswith(field)
        assert b"eve@" not in answer.body
        assert (await caller.get(OUTBOX)).data["messages"] == []


async def test_the_first_character_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    async with sender(tmp_path) as caller:
        answer = await send(caller, {**MESSAGE, "text": "Grüße 世界"})
        (error,) = answer.data["errors"]
        assert error["message"] == ('character 7 ("世", U+4E16) cannot be written in ISO-8859-1')
        assert "encoding_mode" in answer.data["hint"]


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_a_message_may_be_large_but_not_too_large(tmp_path: Path) -> None:
    async with sender(tmp_path, limits=MessageLimits(size=2_000_000)) as caller:
        content = base64.b64encode(b"x" * 1_400_000).decode()
        file = {"name": "a.bin", "content_type": "application/octet-stream", "content": content}
        assert (await send(caller, {**MESSAGE, "attachments": [file]})).status == 202
        larger = await send(caller, {**MESSAGE, "attachments": [file, file]})
        assert (larger.status, larger.data["errors"][0]["field"]) == (422, "attachments")
        assert (await send(caller, {**MESSAGE, "text": "x" * 49 * 1024 * 1024})).status == 413


async def test_a_full_queue(tmp_path: Path) -> None:
    async with sender(tmp_path / "a", queue_messages=2) as caller:
        assert [(await send(caller)).status for _ in range(2)] == [202, 202]
        full = await send(caller)
        assert (full.status, full.slug) == (429, "too-many-requests")
        assert int(full.headers["Retry-After"]) > 0
    async with sender(tmp_path / "b", queue_bytes=1_000) as caller:
        full = await send(caller, {**MESSAGE, "text": "x" * 2_000})
        assert (full.status, full.slug) == (507, "storage-full")


async def test_no_such_gateway_or_message(tmp_path: Path) -> None:
    async with sender(tmp_path) as caller:
        for path in ("/v1/gateways/none/outbox", "/v1/gateways/none/outbox/1", f"{OUTBOX}/1"):
            assert (await caller.get(path)).status == 404
        for path in (f"{OUTBOX}/1/resend", f"{OUTBOX}/1/give-up"):
            assert (await caller.call("POST", path)).status == 404
        missing = await caller.write("POST", "/v1/gateways/none/messages", MESSAGE)
        assert missing.status == 404
        assert (await caller.get(f"{OUTBOX}?state=lost")).status == 400


async def test_a_gateway_that_receives_sends_nothing(tmp_path: Path) -> None:
    async with sender(tmp_path) as caller:
        apply = await api(caller.run)
        assert (await apply.create("in")).status == 201
        answer = await caller.write("POST", "/v1/gateways/in/messages", MESSAGE)
        assert (answer.status, answer.slug) == (409, "blocked")


async def test_held_is_said_at_once(tmp_path: Path) -> None:
    """G40."""
    async with sender(tmp_path) as caller:
        operate = await api(caller.run, "operate")
        body = {"actor": {"name": "ann"}, "owner": "ours", "cause": "by hand"}
        path = "/v1/gateways/out/disconnect"
        assert (await operate.write("POST", path, body)).status == 200
        answer = await send(caller)
        assert (answer.status, answer.data["state"]) == (202, "held")
        assert len((await caller.get(f"{OUTBOX}?state=held")).data["messages"]) == 1


async def test_decisions(tmp_path: Path) -> None:
    """G4: with a key, a decision is carried out once."""
    async with sender(tmp_path) as caller:
        one = (await send(caller)).data["id"]
        path = f"{OUTBOX}/{one}"
        waiting = await caller.call("POST", f"{path}/resend")
        assert (waiting.status, waiting.data["state"]) == (200, "queued")
        await caller.run.site.service.write(
            lambda connection: connection.execute(
                "UPDATE outbox SET state = 'unknown', next_attempt_at = NULL, "
                "recipients = replace(recipients, 'queued', 'unknown')"
            )
        )
        key = fresh_key()
        for _ in range(2):
            again = await caller.call("POST", f"{path}/resend", Idempotency_Key=key)
            assert (again.status, again.data["state"]) == (200, "queued")
        ended = await caller.call("POST", f"{path}/give-up")
        assert (ended.status, ended.data["state"]) == (200, "failed")
        assert (await caller.get(path)).data == ended.data
        refused = await caller.call("POST", f"{path}/resend")
        assert (refused.status, refused.slug) == (409, "blocked")
