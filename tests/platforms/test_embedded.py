"""The embedded platform: the contract, and what a database file beside a project adds to it."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.mailserver import MailServer
from reconciler.errors import InvalidInput, Locked, PlatformUnavailable, RevisionMoved
from reconciler.model import Actor, Cause, Place, StatusState, Target
from reconciler.platforms import Platform, open_platform, open_readable
from reconciler.platforms.embedded import TENANT, EmbeddedPlatform
from reconciler.service.database import open_writable
from reconciler.service.lock import hold_alone
from reconciler.service.store import Store
from tests.platforms.contract import (
    ACTOR,
    PASSWORD,
    SECONDS,
    PlatformContract,
    Platforms,
    connected,
    on,
    only,
    server,
    until,
    wanted,
    write,
)
from tests.service.mounts import need_own_mounts

__all__ = ["server"]  # a fixture is found by its name in this module

CHECKOUT = Path(__file__).parents[2]


class Clock:
    """A clock that a test can put forward."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "project" / ".gateways" / "platform.db"


@pytest.fixture
async def platforms(database: Path) -> AsyncIterator[Platforms]:
    opened: list[EmbeddedPlatform] = []

    def open_one(owner: str = "ours", **settings: Any) -> Platform:
        platform = EmbeddedPlatform(database, owner, **settings)
        opened.append(platform)
        return platform

    yield open_one
    for platform in opened:
        await platform.close()


class TestContract(PlatformContract):
    pass


def target(**fields: Any) -> Target:
    place = Place("gateways.yaml")
    return Target("local", "embedded", place, "ours", "gateways.d", (), **fields)


def files_under(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def modes_under(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in folder.rglob("*")
    }


def sql(database: Path, statement: str) -> list[Any]:
    """What somebody with a shell could do to the database."""
    with closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(statement).fetchall()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def child(script: str, *arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Another process: its script writes lines that the test waits for."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# files


async def test_planning_makes_nothing(tmp_path: Path) -> None:
    platform = open_readable(target(), tmp_path)
    assert (await platform.read()).gateways == ()
    assert (await platform.read(refresh=True)).gateways == ()
    await platform.close()
    assert files_under(tmp_path) == {}


async def test_planning_changes_no_byte(
    platforms: Platforms, server: MailServer, database: Path
) -> None:
    await connected(platforms(), wanted(on(server)))
    before = files_under(database.parent)
    await platforms().read()
    await platforms().read(refresh=True)
    assert files_under(database.parent) == before


async def test_a_refused_refresh_writes_to_the_users_cache_alone(
    platforms: Platforms, server: MailServer, database: Path, cache: Path
) -> None:
    await connected(platforms(), wanted(on(server)))
    server.accounts["agent@example.com"] = "changed"
    before = files_under(database.parent)
    await platforms().read(refresh=True)
    assert files_under(database.parent) == before
    folder = cache / "gateways" / "refused"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(modes_under(folder).values()) == [0o600]
    assert list(files_under(cache).values()) == [b"."]


async def test_without_a_cache_a_refresh_still_works(
    platforms: Platforms, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then each run is refused once; nothing is said of it, and nothing is made elsewhere."""
    await connected(platforms(), wanted(on(server)))
    server.accounts["agent@example.com"] = "changed"
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    await platforms().read(refresh=True)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "")
    (seen,) = (await platforms().read(refresh=True)).gateways
    assert seen.status.state is StatusState.FAILED
    assert server.counters.logins_refused == 2


def test_an_unknown_platform_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'ftp' of target 'local' is not known") as caught:
        open_platform(replace(target(), platform="ftp"), tmp_path)
    assert "embedded, http, runbook" in caught.value.hint


async def test_the_database_is_for_its_user_alone(tmp_path: Path, server: MailServer) -> None:
    platform = open_platform(target(database="a/b/platform.db"), tmp_path)
    await platform.create(wanted(on(server)), write())
    await platform.close()
    assert modes_under(tmp_path) == {
        "a": 0o700,
        "a/b": 0o700,
        "a/b/platform.db": 0o600,
        "a/b/platform.db.key": 0o600,
        "a/b/platform.db.lock": 0o600,
    }


@pytest.mark.interop("unshare", "mount")
def test_a_read_only_folder_can_be_planned_from_and_not_applied_to(
    database: Path, tmp_path: Path
) -> None:
    script = """
        import asyncio, pathlib, subprocess, sys
        from reconciler.errors import PlatformUnavailable
        from reconciler.platforms.embedded import EmbeddedPlatform
        from tests.platforms.contract import Gateway, ProtocolType, wanted, write

        async def main(path):
            async def create(name):
                platform = EmbeddedPlatform(path, "ours")
                gateway = Gateway(name, ProtocolType.SMTP, "mail.example.com", 25)
                try:
                    await platform.create(wanted(gateway), write())
                finally:
                    await platform.close()
            await create("a")
            mount = ["mount", "--bind", str(path.parent), str(path.parent)]
            subprocess.run(mount, check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", str(path.parent)], check=True)
            platform = EmbeddedPlatform(path, "ours")
            print(len((await platform.read()).gateways), flush=True)
            await platform.close()
            try:
                await create("b")
            except PlatformUnavailable as error:
                print(error.message, flush=True)

        asyncio.run(main(pathlib.Path(sys.argv[1])))
    """
    need_own_mounts(tmp_path)
    process = child(script, database, prefix=("unshare", "-m"))
    printed, _ = process.communicate(timeout=60)
    count, message = printed.splitlines()
    assert count == "1"
    assert "Read-only file system" in message


# contact is made when it is waited for, and nothing moves by itself


async def test_a_write_makes_no_contact(platforms: Platforms, server: MailServer) -> None:
    platform = platforms()
    created = await platform.create(wanted(on(server)), write())
    rebuilt = await platform.rebuild("support-out", write(created.revision))
    await asyncio.sleep(0.1)
    assert await only(platforms()) == rebuilt
    assert rebuilt.status.state is StatusState.CONNECTING
    assert server.counters.connections == 0


async def test_a_failure_stays_as_it_was_told(platforms: Platforms, server: MailServer) -> None:
    await platforms().create(wanted(on(server), "wrong"), write())
    settled = await platforms().settle("support-out", seconds=SECONDS)
    await asyncio.sleep(0.1)
    assert await only(platforms()) == settled
    assert server.counters.logins_refused == 1


# secrets


async def test_no_password_is_ever_in_the_files_and_an_erased_one_leaves_nothing(
    platforms: Platforms, server: MailServer, database: Path
) -> None:
    platform = platforms()
    gateway = on(server)
    server.accounts["agent@example.com"] = "canary-5uper-secret"
    actual = await connected(platform, wanted(gateway, "canary-5uper-secret"))
    await platform.edit(wanted(gateway, "canary-rotated"), write(), reconnect=True)
    await platform.settle(gateway.name, seconds=SECONDS)

    def files() -> bytes:
        return b"".join(files_under(database.parent).values())

    ((sealed,),) = sql(database, "SELECT password FROM gateways")
    assert b"canary" not in files()
    assert sealed in files()
    now = (await only(platform)).fingerprint
    assert now is not None
    assert actual.fingerprint is not None
    await platform.disconnect(gateway.name, write(), cause=Cause.UNDECLARED)
    left = files()
    assert b"canary" not in left
    assert sealed not in left
    assert now.digest.encode() not in left
    assert actual.fingerprint.digest.encode() not in left


async def test_the_key_is_not_needed_to_read(
    platforms: Platforms, server: MailServer, database: Path
) -> None:
    """G37: what needs no password goes on without the key, what needs one says what to do."""
    await connected(platforms(), wanted(on(server)))
    database.with_name(database.name + ".key").unlink()
    platform = platforms()
    before = await only(platform)
    with pytest.raises(PlatformUnavailable, match="there is no such file") as caught:
        await platform.edit(wanted(on(server), "another"), write(), reconnect=True)
    assert "GATEWAYS_KEY_FILE" in caught.value.hint
    assert await only(platform) == before
    after = await platform.disconnect("support-out", write(), cause=Cause.UNDECLARED)
    assert not after.has_password


async def test_a_wrong_key_is_told_at_once(
    platforms: Platforms,
    server: MailServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    await connected(platforms(), wanted(on(server)))
    key = tmp_path / "other.key"
    key.write_text("A" * 43 + "=")
    key.chmod(0o600)
    monkeypatch.setenv("GATEWAYS_KEY_FILE", str(key))
    platform = platforms()
    with pytest.raises(PlatformUnavailable, match="not the key of this database"):
        await platform.create(wanted(on(server, "other")), write())
    await platform.rebuild("support-out", write())
    with pytest.raises(PlatformUnavailable, match="not the key of this database"):
        await platform.settle("support-out", seconds=SECONDS)


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE gateways SET password = (SELECT password FROM gateways WHERE name = 'b')",
        "UPDATE gateways SET host = '127.0.0.2'",
    ],
)
async def test_a_password_moved_to_another_row_does_not_open(
    platforms: Platforms, server: MailServer, database: Path, swap: str
) -> None:
    """A36."""
    await connected(platforms(), wanted(on(server, "a")))
    await connected(platforms(), wanted(on(server, "b"), PASSWORD))
    platform = platforms()
    await platform.rebuild("a", write())
    sql(database, swap + " WHERE name = 'a'")
    logins = server.counters.connections
    with pytest.raises(PlatformUnavailable, match="gateway 'a' was not stored for it"):
        await platform.settle("a", seconds=SECONDS)
    assert server.counters.connections == logins


# the audit trail


async def test_every_write_is_audited_with_it(
    platforms: Platforms, server: MailServer, database: Path
) -> None:
    platform = platforms()
    gateway = on(server)
    await platform.create(wanted(gateway), write())
    named = replace(gateway, default_user_name="Support")
    await platform.edit(wanted(named, "canary-rotated"), write(), reconnect=True)
    await platform.rebuild(gateway.name, write())
    with pytest.raises(RevisionMoved):
        await platform.rebuild(gateway.name, write("1"))
    await platform.disconnect(gateway.name, write(), cause=Cause.UNDECLARED)
    connection = open_writable(database)
    entries = Store(connection, TENANT).audit(gateway.name)
    assert Store(connection, "another tenant").audit() == ()
    connection.close()
    assert [one.action for one in entries] == ["create", "edit", "rebuild", "disconnect"]
    assert {(one.actor, one.commit, one.run) for one in entries} == {("alice", "c0ffee", "run-1")}
    assert [one.revision for one in entries] == ["1", "2", "3", "4"]
    assert '{"field":"user_password","secret":"set"}' in entries[0].changes
    assert entries[1].changes == (
        '[{"field":"default_user_name","before":null,"after":"Support"},'
        '{"field":"user_password","secret":"rotated"}]'
    )
    assert entries[3].changes == (
        '[{"field":"user_password","secret":"cleared"},{"cause":"undeclared"}]'
    )
    assert "canary" not in str(entries)


# several processes


async def test_commands_give_way_to_a_service(
    platforms: Platforms, server: MailServer, database: Path
) -> None:
    platform = platforms()
    await platform.create(wanted(on(server)), write())
    with pytest.raises(Locked, match="a command works on it"):
        hold_alone(database)
    await platform.close()
    end = hold_alone(database)
    for refused in (
        lambda: platforms().read(),
        lambda: platforms().rebuild("support-out", write()),
    ):
        with pytest.raises(Locked, match="a gateway service runs on this database") as caught:
            await refused()
        assert "http target" in caught.value.hint
    end()
    assert await only(platforms())


async def test_two_processes_write_side_by_side(platforms: Platforms, database: Path) -> None:
    script = """
        import asyncio, pathlib, sys
        from reconciler.platforms import Write
        from reconciler.platforms.embedded import EmbeddedPlatform
        from tests.platforms.contract import ACTOR, Gateway, ProtocolType, wanted

        async def main(path, who):
            platform = EmbeddedPlatform(pathlib.Path(path), "ours")
            for number in range(40):
                name = f"{who}-{number:03}"
                gateway = Gateway(name, ProtocolType.SMTP, "mail.example.com", 25)
                await platform.create(wanted(gateway), Write(ACTOR, name))
            await platform.close()

        asyncio.run(main(*sys.argv[1:]))
    """
    processes = [child(script, database, who) for who in ("a", "b", "c")]
    printed = [await asyncio.to_thread(one.communicate, timeout=60) for one in processes]
    assert [one.returncode for one in processes] == [0, 0, 0], printed
    assert len((await platforms().read()).gateways) == 120


HOLDER = """
    import asyncio, pathlib, sys
    from reconciler.errors import GatewaysError
    from reconciler.model import Actor
    from reconciler.platforms.embedded import EmbeddedPlatform
    from tests.platforms.contract import write

    async def main(path):
        platform = EmbeddedPlatform(pathlib.Path(path), "ours", lease_seconds=1.5)
        async with platform.lock(Actor("carol", run="77"), seconds=0):
            print("locked", flush=True)
            await asyncio.sleep(4)
            try:
                await platform.rebuild("support-out", write())
                print("written", flush=True)
            except GatewaysError as error:
                print(type(error).__name__, flush=True)
        await platform.close()

    asyncio.run(main(sys.argv[1]))
"""


async def test_the_lock_of_a_killed_holder_ends_by_itself(
    platforms: Platforms, server: MailServer, database: Path
) -> None:
    """P1."""
    await platforms().create(wanted(on(server)), write())
    process = child(HOLDER, database)
    assert await asyncio.to_thread(said, process) == "locked"
    with pytest.raises(Locked, match=r"carol \(run 77\)"):
        async with platforms().lock(ACTOR, seconds=0):
            pass
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    async with platforms().lock(ACTOR, seconds=10):
        pass


async def test_a_holder_that_stood_still_past_its_lease_cannot_write(
    platforms: Platforms, server: MailServer, database: Path
) -> None:
    """P8."""
    before = await platforms().create(wanted(on(server)), write())
    process = child(HOLDER, database)
    assert await asyncio.to_thread(said, process) == "locked"
    process.send_signal(signal.SIGSTOP)
    async with platforms().lock(ACTOR, seconds=10):
        process.send_signal(signal.SIGCONT)
        printed, _ = await asyncio.to_thread(process.communicate, timeout=30)
    assert printed.strip() == "Locked"
    assert (await only(platforms())).revision == before.revision


async def test_a_lease_that_ran_out_is_lost_even_if_nobody_took_it(
    platforms: Platforms, server: MailServer
) -> None:
    clock = Clock()
    platform = platforms(clock=clock)
    await platform.create(wanted(on(server)), write())
    async with platform.lock(ACTOR, seconds=0):
        clock.forward(29)
        await platform.rebuild("support-out", write())
        clock.forward(2)
        with pytest.raises(Locked, match="the lock was lost"):
            await platform.rebuild("support-out", write())
        async with platforms(clock=clock).lock(Actor("bob"), seconds=0):
            with pytest.raises(Locked, match="the lock was lost"):
                await platform.rebuild("support-out", write())


async def test_a_long_apply_keeps_its_lease(platforms: Platforms) -> None:
    platform = platforms(lease_seconds=0.6)
    async with platform.lock(ACTOR, seconds=0):
        with pytest.raises(Locked):
            async with platforms().lock(Actor("bob"), seconds=1.5):
                pytest.fail("the lease was not renewed")


# drift, time


async def test_what_others_change_in_the_database_is_told_from_what_was_applied(
    platforms: Platforms, server: MailServer, database: Path
) -> None:
    before = await connected(platforms(), wanted(on(server)))
    sql(database, "UPDATE gateways SET port = 2525, protect = 1")
    actual = await only(platforms())
    assert actual.gateway == replace(before.gateway, port=2525, protect=True)
    assert actual.applied == before.gateway


async def test_since_stays_and_checked_at_moves(platforms: Platforms, server: MailServer) -> None:
    clock = Clock()
    platform = platforms(clock=clock)
    actual = await connected(platform, wanted(on(server)))
    assert actual.status.since == actual.status.checked_at == "2026-01-01T00:00:00Z"
    clock.forward(3600)
    (seen,) = (await platform.read(refresh=True)).gateways
    assert seen.status.since == "2026-01-01T00:00:00Z"
    assert seen.status.checked_at == "2026-01-01T01:00:00Z"


async def test_answers_to_repeated_writes_are_kept_a_day(
    platforms: Platforms, server: MailServer, database: Path
) -> None:
    clock = Clock()
    await platforms(clock=clock).create(wanted(on(server, "a")), write())
    for hours, kept in ((23, 2), (2, 2)):
        clock.forward(3600 * hours)
        await platforms(clock=clock).create(wanted(on(server, f"b{hours}")), write())
        assert sql(database, "SELECT count(*) FROM answers") == [(kept,)]


async def test_nobody_is_left_connected(platforms: Platforms, server: MailServer) -> None:
    """Sessions end with the contact, so that ten thousand gateways do not need as many files."""
    before = open_files()
    platform = platforms()
    for number in range(5):
        await connected(platform, wanted(on(server, f"gw-{number}")))
    await until(lambda: server.counters.open == 0)
    assert open_files() <= before + 4  # the database, its lock, two for the loop
    states = {one.status.state for one in (await platform.read()).gateways}
    assert states == {StatusState.SUCCEEDED}


def _empty(database: Path) -> None:
    database.write_bytes(b"")


def _make_pipe(database: Path) -> None:
    database.unlink()
    os.mkfifo(database)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(_empty, "is empty, although passwords"), (_make_pipe, "is not a file")],
)
async def test_what_is_no_database_is_not_taken_for_an_empty_one(
    platforms: Platforms,
    database: Path,
    server: MailServer,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    platform = platforms()
    await connected(platform, wanted(on(server)))
    await platform.close()
    damage(database)
    with pytest.raises(PlatformUnavailable, match=message):
        await platforms().read()
