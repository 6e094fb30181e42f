"""A copy that is taken while the service works can be served in its place."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.model import Status, StatusState
from reconciler.service.faults import Unsound
from reconciler.service.service import Service
from reconciler.service.store import Store
from tests.service.fleet import TENANT, create, far_away, names, service_on

SECONDS = 60.0
NOW = "2026-01-01T00:00:00Z"

COPY = {
    "VACUUM INTO": "sqlite3.connect(sys.argv[1]).execute('VACUUM INTO ?', [sys.argv[2]])",
    "backup": "sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))",
}


async def taken(service: Service, copy: Path, how: str) -> tuple[list[str], list[str]]:
    """Copy the database under load: what was answered before it began, and all in the end."""
    answered: list[str] = []
    done = asyncio.Event()

    async def work(worker: int) -> None:
        number = 0
        while not done.is_set():
            name = f"gateway-{worker}-{number}"
            await create(service, far_away(name))
            answered.append(name)
            number += 1

    async with asyncio.TaskGroup() as tasks:
        for worker in range(4):
            tasks.create_task(work(worker))
        while len(answered) < 20:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
        before = list(answered)
        script = f"import sqlite3, sys; {COPY[how]}"
        command = [sys.executable, "-c", script, str(service.database), str(copy)]
        await asyncio.to_thread(subprocess.run, command, check=True, timeout=SECONDS)
        done.set()
    return before, answered


@pytest.mark.parametrize("how", COPY)
async def test_a_backup_under_load_can_be_restored(tmp_path: Path, how: str) -> None:
    """G28: all that was answered before it began is in it, and each gateway whole."""
    copy = tmp_path / "backup.db"
    database = tmp_path / "platform.db"
    async with service_on(tmp_path) as service:
        before, answered = await taken(service, copy, how)
        assert len(answered) > len(before)
    shutil.copy(copy, database)
    async with service_on(tmp_path) as service:
        found = await names(service)
        assert set(before) <= set(found) <= set(answered)
        trail = await service.ask(lambda connection: Store(connection, TENANT).audit())
        assert sorted(entry.gateway for entry in trail) == found
        assert await service.look(service.sealed) == ""
        await create(service, far_away("after"))


async def test_a_session_of_before_a_restore_stores_nothing(tmp_path: Path) -> None:
    """G28: not even one whose process hung on to the file that was restored."""
    database, copy = tmp_path / "platform.db", tmp_path / "backup.db"
    async with service_on(tmp_path) as before:
        await create(before, far_away("a"))
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("VACUUM INTO ?", [str(copy)])
        # a careless restore: into the file of a service that stands still, past its lock
        lock = tmp_path / "platform.db.lock"
        lock.unlink()
        with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(database)) as to:
            source.backup(to)
        async with service_on(tmp_path) as after:
            assert after.epoch == before.epoch + 1
            status = Status(StatusState.SUCCEEDED, NOW, NOW)
            with pytest.raises(Unsound, match="another service has taken it over"):
                await before.write(
                    lambda c: Store(c, TENANT).record_status("a", "1", status, epoch=before.epoch)
                )
            assert before.fatal.is_set()
            found = await after.look(lambda c: Store(c, TENANT).find("a"))
            assert found is not None
            assert found.status.state is StatusState.CONNECTING
