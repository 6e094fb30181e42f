"""What callers of the API are told while the service's own ground is not as it should be."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from demo.mailserver import MailServer
from reconciler.model import DesiredGateway, EncryptionMode, ProtocolType, StatusState
from reconciler.service.service import Service
from reconciler.service.store import Store
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.wire import actor_data, desired_data
from tests.service.fleet import ACTOR, TENANT, create, far_away, names, service_on
from tests.service.running import Running, running
from tests.service.test_service import held

SECONDS = 20.0


async def put(
    service: Running, headers: dict[str, str], desired: DesiredGateway
) -> aiohttp.ClientResponse:
    name = desired.gateway.name
    body = {**desired_data(desired), "owner": "ours", "actor": actor_data(ACTOR)}
    marks = {"If-None-Match": "*", "Idempotency-Key": name}
    answer = await service.http.put(f"/v1/gateways/{name}", json=body, headers=headers | marks)
    await answer.read()
    return answer


def kind(problem: Any) -> str:
    return str(problem["type"]).rpartition(":")[2]


def eager(service: Service) -> Supervisor:
    return Supervisor(service, settings=SupervisorSettings(watch=0.1))


async def until(service: Service, name: str, state: StatusState) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            found = await service.look(lambda c: Store(c, TENANT).find(name))
            if found and found.status.state is state:
                return
            await asyncio.sleep(0.02)


async def test_a_locked_database_is_told_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G26: 503 with Retry-After; then as if nothing had been."""
    monkeypatch.setattr("reconciler.service.batches.BUSY_SECONDS", 0.5)
    async with running(tmp_path) as service:
        headers = await service.headers("apply")
        with held(tmp_path / "platform.db", "BEGIN IMMEDIATE"):
            writing = asyncio.create_task(put(service, headers, far_away("a")))
            reads = 0
            while not writing.done():
                answer = await service.http.get("/v1/gateways", headers=headers)
                assert answer.status == 200
                reads += 1
            assert reads >= 10
            refused = writing.result()
            assert (refused.status, kind(await refused.json())) == (503, "busy")
            assert int(refused.headers["Retry-After"]) >= 1
        assert (await put(service, headers, far_away("a"))).status == 201


@pytest.fixture
async def mail_server() -> Any:
    async with MailServer({"alice": "correct horse"}) as server:
        yield server


def on(server: MailServer, name: str) -> DesiredGateway:
    port = server.port(ProtocolType.SMTP, EncryptionMode.NONE)
    return far_away(name, host="127.0.0.1", port=port)


async def test_without_its_key_it_shows_and_connects_to_nothing(
    tmp_path: Path, mail_server: MailServer
) -> None:
    """G37: until the key is back, which needs no restart."""
    async with service_on(tmp_path) as service:
        for name in ("a", "b"):
            await create(service, on(mail_server, name))
    key = tmp_path / "platform.db.key"
    kept = key.rename(tmp_path / "kept")
    async with running(tmp_path, supervise=eager) as service:
        headers = await service.headers("apply")
        shown = await (await service.http.get("/v1/gateways", headers=headers)).json()
        assert shown["count"] == 2
        assert (await service.http.get("/v1/gateways/a", headers=headers)).status == 200
        refused = await put(service, headers, far_away("c"))
        assert (refused.status, kind(await refused.json())) == (503, "sealed")
        assert "correct horse" not in await refused.text()
        await asyncio.sleep(0.5)
        assert mail_server.counters.connections == 0
        kept.rename(key)
        for name in ("a", "b"):
            await until(service.site.service, name, StatusState.SUCCEEDED)
        assert (await put(service, headers, far_away("c"))).status == 201


class Clock:
    """A clock that can be put forward and back."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


async def test_a_clock_that_jumps_ends_no_session_and_no_write(
    tmp_path: Path, mail_server: MailServer
) -> None:
    """G31: an hour ahead, and an hour back; what waits does so by a clock that only goes on."""
    clock = Clock()
    async with running(tmp_path, supervise=eager, clock=clock) as service:
        headers = await service.headers("apply")
        for hours, name in ((0, "now"), (1, "ahead"), (-1, "back"), (0, "again")):
            clock.ahead = timedelta(hours=hours)
            assert (await put(service, headers, on(mail_server, name))).status == 201
            await until(service.site.service, name, StatusState.SUCCEEDED)
        assert mail_server.counters.open == 4
        assert mail_server.counters.connections == 4
        assert await names(service.site.service) == ["again", "ahead", "back", "now"]


async def test_a_token_ends_by_the_clock_whatever_it_did_before(tmp_path: Path) -> None:
    """G31: a clock that went back gives a token that time again, and no more."""
    clock = Clock()
    async with running(tmp_path, clock=clock) as service:
        headers = await service.headers("read")

        async def status() -> int:
            return (await service.http.get("/v1/gateways", headers=headers)).status

        for hours, expected in ((0, 200), (25, 401), (-1, 200), (23, 200), (24.1, 401)):
            clock.ahead = timedelta(hours=hours)
            assert await status() == expected, hours
