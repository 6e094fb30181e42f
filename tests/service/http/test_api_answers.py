"""What every operation answers when it works, when it has a fault, and when it has to wait."""

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from demo.mailserver import Faults, MailServer
from reconciler.clock import stamp
from reconciler.model import EncryptionMode, ProtocolType, StatusState
from reconciler.service import batches
from reconciler.service.http import contract
from reconciler.service.http.document import METHODS
from reconciler.service.http.encoder import Encoder
from reconciler.service.mail.inbox import Arrived, Inbox, Summary
from reconciler.service.store import Store
from tests.service.http.api import ACTOR, CANARY, Answer, Api, api, path_of, wish
from tests.service.running import Running, running

USER = "support@example.com"
MESSAGE = {"kind": "agent", "to": ["a@example.com"], "subject": "s", "text": "t"}


class Tour:
    """Calls each operation once, and remembers which."""

    def __init__(self, apply: Api, send: Api) -> None:
        self.apply = apply
        self.send = send
        self.seen: set[tuple[str, str]] = set()

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        name, one = more.pop("name", "support"), more.pop("one", "")
        caller = self.send if is_mail(path) else self.apply
        answer = await caller.write(method, path_of(path, name, one), body, **more)
        assert answer.status < 300, (method, path, answer.data)
        self.seen.add((method, path))
        return answer


def is_mail(path: str) -> bool:
    return any(word in path for word in ("/messages", "/outbox", "/webhooks"))


async def arrive(run: Running) -> str:
    """A received message of gateway support; its id."""

    def job(connection: sqlite3.Connection) -> str:
        inbox = Inbox(connection, "acme")
        raw = b"Subject: x\r\n\r\nhello\r\n"
        arrived = Arrived("1:1", "", len(raw), Summary(subject="x"), raw)
        inbox.list_("support", arrived, stamp(run.site.service.clock()))
        found: str = connection.execute("SELECT id FROM inbox").fetchone()[0]
        return found

    return await run.site.service.write(job)


async def test_every_operation_answers_as_the_document_says(tmp_path: Path) -> None:
    """The caller holds each answer against the schema that the document names for it."""
    async with running(tmp_path) as run:
        tour = Tour(await api(run), await api(run, "send"))
        base = "/v1/gateways/{name}"
        await tour.call("PUT", base, wish(), If_None_Match="*")
        sends = wish("out", protocol_type="SMTP", default_email_address=USER, port=465)
        await tour.call("PUT", base, sends, name="out", If_None_Match="*")
        await tour.call("GET", base)
        await tour.call("GET", f"{base}/status")
        await tour.call("GET", "/v1/gateways")
        await tour.call("POST", f"{base}/adopt", wish())
        await tour.call("POST", f"{base}/rebuild", {"actor": ACTOR})
        by_hand = {"actor": ACTOR, "owner": "ours", "cause": "by hand"}
        await tour.call("POST", f"{base}/disconnect", by_hand)
        await tour.call("POST", f"{base}/disconnect", by_hand, name="out")
        await tour.call("POST", "/v1/refresh")
        await tour.call("GET", "/v1/audit")
        lock = (await tour.call("POST", "/v1/lock", {"actor": ACTOR})).data["id"]
        await tour.call("PUT", "/v1/lock/{id}", one=lock)
        await tour.call("DELETE", "/v1/lock/{id}", one=lock)
        message = await arrive(run)
        await tour.call("GET", f"{base}/messages")
        await tour.call("GET", f"{base}/messages/{{id}}", one=message)
        await tour.call("GET", f"{base}/messages/{{id}}/raw", one=message)
        sent = await tour.call("POST", f"{base}/messages", MESSAGE, name="out")
        await tour.call("GET", f"{base}/outbox", name="out")
        one = f"{base}/outbox/{{id}}"
        await tour.call("GET", one, name="out", one=sent.data["id"])
        await run.site.service.write(
            lambda found: found.execute(
                "UPDATE outbox SET state = 'unknown', next_attempt_at = NULL, "
                "recipients = replace(recipients, 'queued', 'unknown')"
            )
        )
        await tour.call("POST", f"{one}/resend", name="out", one=sent.data["id"])
        await tour.call("POST", f"{one}/give-up", name="out", one=sent.data["id"])
        await webhooks(tour)
        await services(tour)
        documented = {
            (method.upper(), path)
            for path, item in contract.document()["paths"].items()
            for method in METHODS
            if method in item and item[method]["x-role"] != "browser"
        }
        assert tour.seen == documented


async def webhooks(tour: Tour) -> None:
    made = await tour.call("POST", "/v1/webhooks", {"url": "https://desk.example.com/mail"})
    one = made.data["id"]
    await tour.call("GET", "/v1/webhooks")
    await tour.call("GET", "/v1/webhooks/{id}", one=one)
    await tour.call("POST", "/v1/webhooks/{id}/rotate", one=one)
    await tour.call("POST", "/v1/webhooks/{id}/retry", {}, one=one)
    await tour.call("GET", "/v1/webhooks/{id}/deliveries", one=one)
    await tour.call("DELETE", "/v1/webhooks/{id}", one=one)


async def services(tour: Tour) -> None:
    for path in ("/openapi.yaml", "/docs", "/healthz", "/readyz", "/metrics"):
        await tour.call("GET", path)


# a refresh


def on(server: MailServer, name: str, **fields: Any) -> dict[str, Any]:
    """A wish for a gateway on the test's mail server, without encryption."""
    return wish(
        name,
        host="127.0.0.1",
        port=server.port(ProtocolType.IMAP, EncryptionMode.NONE),
        user_id=USER,
        encryption_mode="NONE",
        certificate_file=None,
        **fields,
    )


async def test_a_refresh_tells_what_works_now_and_stores_no_status(tmp_path: Path) -> None:
    async with MailServer({USER: CANARY}) as server, running(tmp_path) as run:
        caller = await api(run)
        for name in ("a", "b"):
            created = await caller.put(name, on(server, name), If_None_Match="*")
            assert created.status == 201
        off = on(server, "off", state="disconnected")
        assert (await caller.put("off", off, If_None_Match="*")).status == 201
        fresh = await caller.call("POST", "/v1/refresh")
        states = [one["status"]["state"] for one in fresh.data["gateways"]]
        assert (fresh.status, fresh.data["next"]) == (200, None)
        assert states == ["succeeded", "succeeded", "disconnected"]
        stored = (await caller.get("/v1/gateways")).data["gateways"]
        assert [one["status"]["state"] for one in stored] == ["connecting"] * 2 + ["disconnected"]


async def test_however_often_a_refresh_is_asked_for_no_account_is_locked(tmp_path: Path) -> None:
    """A42: three refusals of one user and password, then no more."""
    async with MailServer({USER: "another"}) as server, running(tmp_path) as run:
        caller = await api(run)
        for name in ("a", "b", "c"):
            await caller.put(name, on(server, name), If_None_Match="*")
        for _ in range(5):
            found = (await caller.call("POST", "/v1/refresh")).data["gateways"]
            assert [one["status"]["failure"]["kind"] for one in found] == ["auth"] * 3
        assert server.counters.logins_refused == 3


async def test_one_refresh_of_a_tenant_at_a_time(tmp_path: Path) -> None:
    """A40: a refresh logs in everywhere, and is not to be had twice at once."""
    async with MailServer({USER: CANARY}) as server, running(tmp_path) as run:
        server.faults = Faults(refuse_logins=True, refusal_seconds=0.5)
        caller, stranger = await api(run), await api(run, tenant="globex")
        await caller.put("a", on(server, "a"), If_None_Match="*")
        first = asyncio.create_task(caller.call("POST", "/v1/refresh"))
        async with asyncio.timeout(5):
            while "acme" not in run.site.refreshing:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        second = await caller.call("POST", "/v1/refresh")
        assert (second.status, second.slug) == (429, "too-many-requests")
        assert (await stranger.call("POST", "/v1/refresh")).status == 200
        assert (await first).status == 200


# faults


async def test_what_nobody_expected_is_told_by_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A37: neither the answer nor the log holds what the error says."""

    def fail(*_: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(Encoder, "gateway", fail)
    async with running(tmp_path) as run:
        caller = Api(run, await run.headers("read"))
        async with run.http.get("/v1/gateways/support", headers=caller.headers) as answer:
            data = await answer.json()
            assert (answer.status, data["type"]) == (500, "urn:gateways:problem:internal")
        incident = data["detail"].split()[1]
    (record,) = [one for one in caplog.records if one.name == "gateways.http"]
    assert (record.levelno, incident in record.getMessage()) == (logging.ERROR, True)
    assert CANARY not in caplog.text + str(data)
    assert "test_api_answers.py" in caplog.text


async def test_a_database_that_stays_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G26: asked for a while, then 503 with Retry-After; and the loop stands still for nobody."""
    monkeypatch.setattr(batches, "BUSY_SECONDS", 0.3)
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        with closing(sqlite3.connect(tmp_path / "platform.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            done = asyncio.Event()
            longest = asyncio.create_task(longest_pause(done))
            answers = await asyncio.gather(
                caller.get("/v1/gateways"),
                caller.get("/v1/gateways/support"),
                caller.create("other"),
                caller.edit(),
                caller.call("POST", "/v1/lock", {"actor": ACTOR}),
            )
            for answer in answers:
                assert (answer.status, answer.slug) == (503, "busy")
                assert int(answer.headers["Retry-After"]) > 0
            async with run.http.get("/openapi.yaml") as found:
                assert found.status == 200
            done.set()
            assert await longest < 2
            other.execute("ROLLBACK")
        assert (await caller.create("other")).status == 201
        assert (await caller.get("/v1/gateways")).data["count"] == 2


async def longest_pause(done: asyncio.Event) -> float:
    """For how many seconds the event loop did not come round, at worst."""
    loop = asyncio.get_running_loop()
    longest = 0.0
    while not done.is_set():
        began = loop.time()
        await asyncio.sleep(0)
        longest = max(longest, loop.time() - began)
    return longest


async def test_a_reader_that_is_beside_us_holds_up_nobody_for_long(tmp_path: Path) -> None:
    """G26: a backup reads while we write; the write is done once it has ended."""
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        with closing(sqlite3.connect(tmp_path / "platform.db", isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM gateways").fetchone()
            writing = asyncio.create_task(caller.edit(host="a.example.com"))
            await asyncio.sleep(0.2)
            other.execute("ROLLBACK")
        assert (await writing).status == 200
        stored = await run.site.service.look(lambda found: Store(found, "acme").find("support"))
        assert stored is not None
        assert stored.status.state is StatusState.CONNECTING
