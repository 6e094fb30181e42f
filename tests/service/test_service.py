"""One process on one database: held alone, never waiting in the loop, and ended in time."""

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reconciler.errors import Locked, PlatformUnavailable
from reconciler.model import Status, StatusState
from reconciler.platforms.embedded import EmbeddedPlatform
from reconciler.service.faults import Busy, Unsound
from reconciler.service.lock import share
from reconciler.service.service import Service
from reconciler.service.store import Store
from tests.platforms.contract import write
from tests.service.fleet import TENANT, create, far_away, names, service_on

SECONDS = 30.0


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with service_on(tmp_path) as running:
        yield running


async def test_a_write_is_there_for_who_asks(service: Service) -> None:
    await create(service, far_away("a"))
    assert await names(service) == ["a"]
    count = await service.look(lambda c: c.execute("SELECT count(*) FROM gateways").fetchone())
    assert count == (1,)


# held alone


async def test_a_second_service_is_told_which_process_is_the_first(
    service: Service, tmp_path: Path
) -> None:
    with pytest.raises(Locked, match=r"another gateway service runs on it \(process \d+\)"):
        async with service_on(tmp_path):
            pass
    await create(service, far_away("a"))


async def test_commands_and_a_service_keep_each_other_out(tmp_path: Path) -> None:
    """G26: whichever came first."""
    database = tmp_path / "platform.db"
    async with service_on(tmp_path):
        with pytest.raises(Locked, match="a gateway service runs on this database"):
            share(database, create=True)
    command = share(database, create=True)
    with pytest.raises(Locked, match="a command works on it"):
        async with service_on(tmp_path):
            pass
    command()
    async with service_on(tmp_path):
        pass


async def test_each_start_has_a_number_of_its_own(tmp_path: Path) -> None:
    found = []
    for _ in range(3):
        async with service_on(tmp_path) as service:
            found.append(service.epoch)
    assert found == [1, 2, 3]


async def test_after_a_service_commands_store_what_they_find(tmp_path: Path) -> None:
    """A service's number is no hurdle for a command: that runs only where no service does."""
    database = tmp_path / "platform.db"
    platform = EmbeddedPlatform(database, "ours")
    await platform.create(far_away("a"), write())
    await platform.close()
    async with service_on(tmp_path) as service:
        up = Status(StatusState.SUCCEEDED, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
        await service.write(
            lambda c: Store(c, "local").record_status("a", "1", up, epoch=service.epoch)
        )
    platform = EmbeddedPlatform(database, "ours")
    await platform.rebuild("a", write())
    settled = await platform.settle("a", seconds=SECONDS)
    assert settled.status.state is StatusState.FAILED
    (kept,) = (await platform.read()).gateways
    assert kept.status == settled.status
    await platform.close()


async def test_who_was_taken_over_writes_nothing_more(service: Service) -> None:
    """G30: whether by another owner, or by a backup that was copied over the database."""
    await create(service, far_away("before"))
    with closing(sqlite3.connect(service.database)) as other, other:
        other.execute("UPDATE epochs SET epoch = epoch + 1")
    with pytest.raises(Unsound, match="another service has taken it over"):
        await create(service, far_away("after"))
    assert service.fatal.is_set()
    assert await names(service) == ["before"]


# one transaction, whole or not at all


async def test_no_change_without_its_entry_in_the_audit_trail(service: Service) -> None:
    """A38, G38: they are one transaction, so whatever stops the one stops the other."""
    with closing(sqlite3.connect(service.database)) as other, other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.gateway = 'b' "
            "BEGIN SELECT RAISE(FAIL, 'the trail is full'); END"
        )
    answers = await asyncio.gather(
        *(create(service, far_away(name)) for name in "abc"), return_exceptions=True
    )
    assert [isinstance(one, sqlite3.IntegrityError) for one in answers] == [False, True, False]
    assert await names(service) == ["a", "c"]
    trail = await service.look(lambda connection: Store(connection, TENANT).audit())
    assert [entry.gateway for entry in trail] == ["a", "c"]
    keys = await service.look(lambda c: c.execute("SELECT write_key FROM answers").fetchall())
    assert keys == [("a",), ("c",)]
    assert not service.fatal.is_set()


# locked by another program


HOLD = """
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute(sys.argv[2])
    connection.execute("SELECT count(*) FROM gateways").fetchone()
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held(database: Path, begin: str) -> Iterator[None]:
    """Another program keeps the database locked meanwhile."""
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(database), begin]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            other.communicate(b"\n", timeout=SECONDS)


class Ticks:
    """How often the loop came round: it does not while something on it waits."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            self.count += 1


@pytest.fixture
async def ticks() -> AsyncIterator[Ticks]:
    made = Ticks()
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()


@pytest.fixture(autouse=True)
def soon_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.service.batches.BUSY_SECONDS", 0.5)


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN"])
async def test_reading_goes_on_while_a_write_waits(
    service: Service, ticks: Ticks, begin: str
) -> None:
    """G26: where another program is about to write, and where one only reads, as a backup does."""
    with held(service.database, begin):
        writing = asyncio.create_task(create(service, far_away("a")))
        read = 0
        while not writing.done():
            await service.look(lambda c: c.execute("SELECT count(*) FROM gateways").fetchone())
            await asyncio.sleep(0.005)
            read += 1
        with pytest.raises(Busy, match="another program keeps it locked"):
            await writing
    assert read >= 10
    assert ticks.count >= 10
    assert await names(service) == []
    await create(service, far_away("a"))
    assert not service.fatal.is_set()


async def test_the_loop_runs_on_where_nothing_can_be_read_either(
    service: Service, ticks: Ticks
) -> None:
    """G26."""
    with held(service.database, "BEGIN EXCLUSIVE"):
        with pytest.raises(Busy):
            await service.look(lambda c: c.execute("SELECT count(*) FROM gateways").fetchone())
        with pytest.raises(Busy):
            await names(service)
        with pytest.raises(Busy):
            await create(service, far_away("a"))
    assert ticks.count >= 30
    assert await names(service) == []


async def test_a_lock_that_is_given_back_in_time_is_not_noticed(service: Service) -> None:
    with held(service.database, "BEGIN IMMEDIATE"):
        writing = asyncio.create_task(create(service, far_away("a")))
        await asyncio.sleep(0.1)
        assert not writing.done()
    await writing


# without the key of the passwords


async def test_a_service_without_its_key_still_shows(tmp_path: Path) -> None:
    """G37: and says why it does nothing else, until the key is back."""
    key = tmp_path / "platform.db.key"
    async with service_on(tmp_path) as service:
        await create(service, far_away("a"))
        assert await service.look(service.sealed) == ""
    right = key.read_bytes()
    for wrong in (None, b"not a key", right[::-1].strip(), right.swapcase()):
        key.unlink()
        if wrong is not None:
            key.write_bytes(wrong)
            key.chmod(0o600)
        async with service_on(tmp_path) as service:
            assert str(key) in await service.look(service.sealed)
            assert await names(service) == ["a"]
            with pytest.raises(PlatformUnavailable, match=key.name):
                await create(service, far_away("b"))
            await create(service, far_away("without", password=None), key=f"{wrong!r}")
            key.write_bytes(right)
            key.chmod(0o600)
            assert await service.look(service.sealed) == ""
            await create(service, far_away("b"), key="right")
            for made in ("without", "b"):
                await service.write(
                    lambda c, made=made: c.execute("DELETE FROM gateways WHERE name = ?", [made])  # type: ignore[misc]
                )
            await service.write(lambda c: c.execute("DELETE FROM answers"))
