"""Alive and ready: said truly, cheaply, and without details."""

import asyncio
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from reconciler.service.database import BUSY_SECONDS
from reconciler.service.http.contract import errors
from reconciler.service.http.health import Health
from reconciler.service.observe import health
from reconciler.service.supervisor.supervisor import Supervisor
from tests.service.fleet import create, far_away
from tests.service.running import Running, running
from tests.service.supervisor.stage import until


async def ready(run: Running) -> tuple[int, dict[str, Any]]:
    """As /readyz says it now, not as it did within the last second."""
    fresh = Health(run.site)
    answer: Any = await fresh.readyz(None, run.site)  # type: ignore[arg-type]

    told = json.loads(answer.body)
    assert errors("Health", told) == []
    return answer.status, told


async def test_ready(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        async with run.http.get("/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "alive"})
        async with run.http.get("/readyz") as answer:
            assert answer.status == 200
            assert await answer.json() == {
                "status": "ready",
                "checks": {"service": "ok", "database": "ok", "vault": "ok", "supervisor": "ok"},
            }


async def test_ending(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        run.site.closing.set()
        status, told = await ready(run)
    assert (status, told["checks"]["service"]) == (503, "ending")


class Ended(Supervisor):
    async def run(self) -> None:
        """It has nothing to do."""


async def test_without_a_supervisor(tmp_path: Path) -> None:
    async with running(tmp_path, supervise=Ended) as run:
        status, told = await ready(run)
    assert (status, told["checks"]["supervisor"]) == (503, "not running")


async def test_sealed(tmp_path: Path) -> None:
    """G37: alive, and not ready; the key's path is nobody's affair."""
    async with running(tmp_path) as run:
        await create(run.site.service, far_away("a"))
    (tmp_path / "platform.db.key").rename(tmp_path / "away.key")
    async with running(tmp_path) as run:
        status, told = await ready(run)
        assert health.alive(run.site.service)
    assert (status, told["checks"]["vault"]) == (503, "sealed")
    assert str(tmp_path) not in str(told)


async def test_a_database_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G26: another program keeps it locked; that is no reason to be restarted."""
    monkeypatch.setattr("reconciler.service.batches.BUSY_SECONDS", 0.1)
    async with running(tmp_path) as run:
        other = sqlite3.connect(tmp_path / "platform.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        status, told = await ready(run)
        assert (status, told["checks"]["database"]) == (503, "cannot be written")
        assert health.alive(run.site.service)
        text = (await Health(run.site)._exposition()).decode()
        assert "\ngateways_database_up 0.0\n" in text
        other.close()
        status, told = await ready(run)
        assert (status, told["checks"]["database"]) == (200, "ok")


async def test_a_writer_that_hangs_is_not_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where whoever waited for it has given up."""
    monkeypatch.setattr(health, "STUCK_SECONDS", 0.05)
    async with running(tmp_path) as run:
        service, goes_on = run.site.service, threading.Event()
        hanging = asyncio.create_task(service.ask(lambda _: goes_on.wait(20)))
        await until(lambda: not health.alive(service))
        hanging.cancel()
        await asyncio.wait([hanging])
        async with run.http.get("/healthz") as answer:
            assert (answer.status, await answer.json()) == (503, {"status": "stuck"})
        goes_on.set()
        await until(lambda: health.alive(service))


async def test_alive_is_said_at_once_while_the_database_is_locked(tmp_path: Path) -> None:
    """G26: and costs no write."""
    async with running(tmp_path) as run:
        before = count_of_commits(run)
        other = sqlite3.connect(tmp_path / "platform.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        async with asyncio.timeout(BUSY_SECONDS / 2), run.http.get("/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "alive"})
        other.close()
        assert count_of_commits(run) == before


async def test_a_failed_disk_is_not_alive(tmp_path: Path) -> None:
    """G25: what was said to be stored may not be, and only a new process looks anew."""
    async with running(tmp_path) as run:
        run.site.service.fatal.set()
        assert not health.alive(run.site.service)


async def test_asking_often_costs_one_write(tmp_path: Path) -> None:
    """A40: anybody may ask."""
    async with running(tmp_path) as run:
        writes = run.site.service.metrics.commits._sum
        await run.http.get("/readyz")
        before = count_of_commits(run)

        async def ask() -> int:
            async with run.http.get("/readyz") as answer:
                return answer.status

        loop = asyncio.get_running_loop()
        began = loop.time()
        assert set(await asyncio.gather(*(ask() for _ in range(200)))) == {200}
        # one more for each second that this took
        assert count_of_commits(run) - before <= 1 + (loop.time() - began)
        assert writes.get() > 0


def count_of_commits(run: Running) -> float:
    (family,) = run.site.service.metrics.commits.collect()
    return next(one.value for one in family.samples if one.name.endswith("_count"))
