"""Reading gateways over the API: one, all at one moment, and once they have settled."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import ActualGateway, Gateway, ProtocolType, Status, StatusState
from reconciler.service.service import Service
from reconciler.service.store import Store
from reconciler.wire import actual_data
from reconciler.wire_reading import Reader
from tests.service.http.api import Api, api, wish
from tests.service.running import Idle, Running, running

NOW = "2026-01-01T00:00:00Z"


async def fill(run: Running, count: int, tenant: str = "acme") -> None:
    def insert(store: Store) -> None:
        for number in range(count):
            gateway = Gateway(f"gw-{number:04}", ProtocolType.IMAP, "mail.example.com", 993)
            store.insert(gateway, "ours", Status(StatusState.SUCCEEDED, NOW, NOW), NOW)

    await run.site.service.write(lambda connection: insert(Store(connection, tenant)))


async def pages(caller: Api, limit: int) -> list[dict[str, Any]]:
    found = []
    cursor = ""
    while True:
        answer = await caller.get(f"/v1/gateways?limit={limit}{cursor}")
        assert answer.status == 200
        found.append(answer.data)
        if answer.data["next"] is None:
            return found
        cursor = f"&cursor={answer.data['next']}"


async def test_what_is_written_is_read_as_it_is_stored(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        created = await caller.create()
        assert (created.status, created.headers["ETag"]) == (201, '"1"')
        assert created.headers["Location"] == "/v1/gateways/support"
        read = await caller.get("/v1/gateways/support")
        assert (read.status, read.headers["ETag"]) == (200, '"1"')
        assert read.data == created.data
        stored = await run.site.service.look(lambda found: Store(found, "acme").find("support"))
        assert stored is not None
        assert Reader(read.data["certificates"]).actual(read.data) == stored
        listed = (await caller.get("/v1/gateways")).data
        assert listed["certificates"] == read.data["certificates"]
        assert listed["gateways"] == [actual_data(stored)]


async def test_a_field_that_is_absent_has_its_default(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        body = wish()
        del body["gateway"]["port"]
        body["gateway"]["user_id"] = "support@example.com"
        body["gateway"]["labels"] = None
        assert (await caller.put("support", body, If_None_Match="*")).status == 201
        gateway = (await caller.get("/v1/gateways/support")).data["gateway"]
        assert (gateway["port"], gateway["encryption_mode"], gateway["labels"]) == (993, "TLS", {})


@pytest.mark.parametrize("limit", [1, 3, 7, 10_000])
async def test_pages_are_of_one_moment(tmp_path: Path, limit: int) -> None:
    async with running(tmp_path) as run:
        await fill(run, 7)
        caller = await api(run)
        first = (await caller.get(f"/v1/gateways?limit={limit}")).data
        await caller.create("gw-0003a")  # between two pages
        found = [first]
        while (cursor := found[-1]["next"]) is not None:
            found.append((await caller.get(f"/v1/gateways?limit={limit}&cursor={cursor}")).data)
        names = [one["gateway"]["name"] for page in found for one in page["gateways"]]
        assert names == [f"gw-{number:04}" for number in range(7)]
        assert {page["count"] for page in found} == {7}
        again = await pages(caller, limit)
        assert sum(len(page["gateways"]) for page in again) == 8


async def test_a_page_holds_the_certificates_of_its_gateways(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create("a")
        plain = wish("b", encryption_mode="NONE", certificate_file=None, port=143)
        assert (await caller.put("b", plain, If_None_Match="*")).status == 201
        first, second = await pages(caller, 1)
        assert len(first["certificates"]) == 1
        assert second["certificates"] == {}


async def test_a_snapshot_that_is_gone_is_never_half_an_answer(tmp_path: Path) -> None:
    """P28: gateways change between two pages, and pages are read too late."""
    async with running(tmp_path) as run:
        await fill(run, 3)
        caller, other = await api(run), await api(run, tenant="globex")
        cursor = (await caller.get("/v1/gateways?limit=1")).data["next"]
        theirs = await other.get(f"/v1/gateways?cursor={cursor}")
        assert (theirs.status, theirs.slug) == (410, "snapshot-gone")
        for _ in range(4):  # each takes a snapshot of its own, and four are kept
            await caller.get("/v1/gateways?limit=1")
        late = await caller.get(f"/v1/gateways?limit=1&cursor={cursor}")
        assert (late.status, late.slug) == (410, "snapshot-gone")
        assert late.data["hint"]


async def test_a_page_may_be_asked_for_again(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await fill(run, 3)
        caller = await api(run)
        cursor = (await caller.get("/v1/gateways?limit=1")).data["next"]
        once = await caller.get(f"/v1/gateways?limit=1&cursor={cursor}")
        assert (await caller.get(f"/v1/gateways?limit=1&cursor={cursor}")).body == once.body


async def test_parameters_that_are_none(tmp_path: Path) -> None:
    limits = ("0", "10001", "-1", "x", "1e3", "٣")
    queries = [*(f"limit={one}" for one in limits), "cursor=x", "cursor="]
    async with running(tmp_path) as run:
        caller = await api(run)
        for query in queries:
            answer = await caller.get(f"/v1/gateways?{query}")
            assert (answer.status, answer.slug) == (400, "invalid"), query
            assert answer.data["errors"][0]["field"] == query.partition("=")[0]


async def test_a_change_is_seen_by_the_next_reader(tmp_path: Path) -> None:
    """Of a service that keeps what it encoded: by a write, by a session, by another process."""
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        before = (await caller.get("/v1/gateways/support")).data
        assert (await caller.get("/v1/gateways")).data["gateways"][0]["revision"] == "1"
        await caller.edit(host="other.example.com")
        after = (await caller.get("/v1/gateways/support")).data
        assert (before["gateway"]["host"], after["gateway"]["host"]) == (
            "mail.example.com",
            "other.example.com",
        )
        status = Status(StatusState.SUCCEEDED, NOW, NOW)
        await run.site.service.write(
            lambda found: Store(found, "acme").record_status("support", "2", status, epoch=99)
        )
        assert (await caller.get("/v1/gateways/support")).data["status"]["state"] == "succeeded"
        listed = (await caller.get("/v1/gateways")).data["gateways"]
        assert [(one["revision"], one["status"]["state"]) for one in listed] == [("2", "succeeded")]


async def test_a_write_that_was_undone_is_not_seen(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()

        def undone(store: Store) -> None:
            store.advance("support", Status(StatusState.SUCCEEDED, NOW, NOW), NOW)
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await run.site.service.write(lambda found: undone(Store(found, "acme")))
        assert (await caller.get("/v1/gateways/support")).data["revision"] == "1"
        assert (await caller.get("/v1/gateways")).data["gateways"][0]["revision"] == "1"


async def test_an_altered_row_is_an_error_and_not_left_out(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        await run.site.service.write(
            lambda found: found.execute("UPDATE gateways SET protocol_type = 'FTP'")
        )
        for path in ("/v1/gateways", "/v1/gateways/support"):
            answer = await caller.get(path)
            assert (answer.status, answer.slug) == (503, "unavailable")
            assert "FTP" not in str(answer.data)


class Settling(Idle):
    """Tells when it was asked, and settles after a moment."""

    asked = 0.0

    async def settled(self, tenant: str, name: str, *, seconds: float) -> ActualGateway:
        self.asked = seconds
        await asyncio.sleep(0.05)
        found = await super().settled(tenant, name, seconds=seconds)
        status = replace(found.status, state=StatusState.SUCCEEDED)
        await self._service.write(
            lambda connection: Store(connection, tenant).record_status(
                name, found.revision, status, epoch=self._service.epoch
            )
        )
        return found


async def test_waiting_for_a_status(tmp_path: Path) -> None:
    async with running(tmp_path, supervise=Settling) as run:
        caller = await api(run)
        await caller.create()
        at_once = await caller.get("/v1/gateways/support/status")
        assert at_once.data["status"]["state"] == "connecting"
        settled = await caller.get("/v1/gateways/support/status?wait=7")
        assert settled.data["status"]["state"] == "succeeded"
        assert isinstance(run.site.supervisor, Settling)
        assert run.site.supervisor.asked == 7
        assert (await caller.get("/v1/gateways/none/status?wait=7")).status == 404
        for wait in ("61", "-1", "x"):
            assert (await caller.get(f"/v1/gateways/support/status?wait={wait}")).status == 400


class Never(Idle):
    """Does not settle."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.asked = asyncio.Event()

    async def settled(self, tenant: str, name: str, *, seconds: float) -> ActualGateway:
        self.asked.set()
        await asyncio.sleep(seconds)
        return await super().settled(tenant, name, seconds=seconds)


async def test_who_waits_does_not_hold_up_the_end_of_the_service(tmp_path: Path) -> None:
    async with running(tmp_path, supervise=Never) as run:
        caller = await api(run)
        await caller.create()
        waiting = asyncio.create_task(caller.get("/v1/gateways/support/status?wait=60"))
        assert isinstance(run.site.supervisor, Never)
        await run.site.supervisor.asked.wait()
        run.site.closing.set()
        async with asyncio.timeout(5):
            assert (await waiting).data["status"]["state"] == "connecting"
