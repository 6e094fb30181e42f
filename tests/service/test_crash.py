"""What was answered is stored, whenever the process is killed and whatever the disk refuses.

The writer is a process of its own; strace kills it, or fails its system calls, at a chosen one.
"""

import asyncio
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.service.database import open_readable
from reconciler.service.store import Store
from reconciler.service.vault import Binding, Vault
from tests.service.mounts import need_own_mounts

CHECKOUT = Path(__file__).parents[2]
SECONDS = 60.0
POINTS = 16

# every way in which SQLite, the key and the folders reach the disk
CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "link", "linkat", "mkdir")

WRITER = """
    import asyncio, itertools, pathlib, sys
    from reconciler.errors import PlatformUnavailable
    from reconciler.platforms import Write
    from reconciler.platforms.embedded import EmbeddedPlatform
    from tests.platforms.contract import ACTOR, Gateway, ProtocolType, wanted

    async def main(path, run, count, parallel):
        platform = EmbeddedPlatform(pathlib.Path(path), "ours")
        numbers = iter(range(int(count)))

        async def work():
            for number in numbers:
                name = f"{run}-{number:05}"
                gateway = Gateway(name, ProtocolType.SMTP, "mail.example.com", 25)
                try:
                    await platform.create(wanted(gateway), Write(ACTOR, name))
                    print("stored", name, flush=True)
                except PlatformUnavailable as error:
                    print("refused", name, error.message, flush=True)

        await asyncio.gather(*(work() for _ in range(int(parallel))))
        await platform.close()

    asyncio.run(main(*sys.argv[1:]))
"""


def writer(
    database: Path, *, run: str, count: int, parallel: int = 1, prefix: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    script = textwrap.dedent(WRITER)
    arguments = [sys.executable, "-c", script, str(database), run, str(count), str(parallel)]
    return subprocess.Popen(
        [*prefix, *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def strace(inject: str, log: Path) -> tuple[str, ...]:
    return ("strace", "-f", "-qq", "-o", str(log), "-e", "trace=" + ",".join(CALLS), "-e", inject)


def names(printed: str, word: str) -> set[str]:
    # a line that was cut short was never said
    lines = [line.split() for line in printed.split("\n")[:-1]]
    return {line[1] for line in lines if line[0] == word}


def stored(database: Path) -> set[str]:
    """The gateways that are there, each whole: its row reads and its password opens."""
    connection = open_readable(database)
    if connection is None:
        return set()
    with closing(connection):
        # a process that died while it wrote leaves a journal: this rolls it back
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            return set()
        store = Store(connection, "local")
        snapshot = store.snapshot()
        audited = [entry.gateway for entry in store.audit()]
        assert sorted(audited) == [one.gateway.name for one in snapshot]
        vault = Vault(database, {})
        for actual in snapshot:
            name = actual.gateway.name
            sealed = store.password(name)
            assert sealed is not None
            vault.unlock(store.key_check())
            vault.open(sealed, Binding("local", name, actual.gateway.host))
        return {one.gateway.name for one in snapshot}


def calls_made(tmp_path: Path) -> list[tuple[str, int]]:
    """Each call of a whole run that reaches the disk, and the how-manieth of its kind it is."""
    log = tmp_path / "counted"
    process = writer(tmp_path / "a" / "b.db", run="a", count=3, prefix=strace("trace=all", log))
    printed, failed = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, failed
    assert len(names(printed, "stored")) == 3
    # strace counts the calls of each thread apart
    calls: list[tuple[str, int]] = []
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.read_text().splitlines():
        thread, _, rest = line.partition(" ")
        call = rest.strip().partition("(")[0]
        if call in CALLS:
            counts[thread, call] += 1
            calls.append((call, counts[thread, call]))
    return calls


@pytest.mark.interop("strace")
def test_killed_at_any_call_nothing_that_was_answered_is_lost(tmp_path: Path) -> None:
    """P1: from making the folder to the last commit, at evenly spaced calls."""
    calls = calls_made(tmp_path)
    assert {call for call, _ in calls} >= {"pwrite64", "fdatasync", "unlink", "link", "mkdir"}
    places = sorted({step * (len(calls) - 1) // (POINTS - 1) for step in range(POINTS)})
    for place in places:
        call, which = calls[place]
        database = tmp_path / str(place) / "platform.db"
        killing = strace(f"inject={call}:signal=KILL:when={which}", tmp_path / "log")
        process = writer(database, run="a", count=3, prefix=killing)
        printed, _ = process.communicate(timeout=SECONDS)
        assert process.returncode != 0
        answered = names(printed, "stored")
        found = stored(database)
        assert answered <= found, f"lost at {call} {which}"
        assert len(found - answered) <= 1
        again = writer(database, run="b", count=1)
        printed, failed = again.communicate(timeout=SECONDS)
        assert names(printed, "stored") == {"b-00000"}, failed
        assert stored(database) == found | {"b-00000"}


@pytest.mark.interop("strace")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("pwrite64", "ENOSPC", "no space left"),
        ("pwrite64", "EIO", "the disk reports an error"),
        ("fdatasync", "EIO", "the disk reports an error"),
    ],
)
def test_what_the_disk_refuses_is_told_and_the_rest_goes_on(
    tmp_path: Path, call: str, error: str, message: str
) -> None:
    """G24: without a restart, once there is room again.

    Where the last sync of a commit fails, nobody can know whether it would last: it is told as
    refused, and the write's key makes it harmless to repeat.
    """
    refusals = 0
    for point in (1, 8, 25):
        database = tmp_path / f"{point}.db"
        writer(database, run="a", count=1).communicate(timeout=SECONDS)
        failing = strace(f"inject={call}:error={error}:when={point}", tmp_path / "log")
        process = writer(database, run="b", count=6, prefix=failing)
        printed, failed = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, failed
        answered, refused = names(printed, "stored"), names(printed, "refused")
        assert len(answered | refused) == 6
        doubtful = refused if call == "fdatasync" else set()
        must = answered | {"a-00000"}
        assert must <= stored(database) <= must | doubtful
        assert all(message in line for line in printed.splitlines() if line[:7] == "refused")
        refusals += len(refused)
    assert refusals >= 2


@pytest.mark.interop("unshare", "mount")
def test_a_full_disk_refuses_writes_and_keeps_what_was_stored(tmp_path: Path) -> None:
    need_own_mounts(tmp_path)
    script = """
        mount -t tmpfs -o size=400k tmpfs "$1" || exit
        "$2" -c "$3" "$1/platform.db" a 200 4
        "$2" -c "$4" "$1/platform.db"
    """
    count = """
    import asyncio, pathlib, sys
    from tests.service.test_crash import stored
    for name in sorted(stored(pathlib.Path(sys.argv[1]))):
        print("found", name)
    """
    process = subprocess.run(
        [
            *("unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable),
            *(textwrap.dedent(WRITER), textwrap.dedent(count)),
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    answered, refused = names(process.stdout, "stored"), names(process.stdout, "refused")
    assert answered
    assert refused
    assert names(process.stdout, "found") == answered
    assert "no space left" in process.stdout


async def test_killed_at_random_moments_nothing_is_lost(tmp_path: Path) -> None:
    """One database through many deaths; several writes wait for each commit."""
    database = tmp_path / "platform.db"
    answered: set[str] = set()
    chance = random.Random(7)  # noqa: S311 - the same moments each time
    for run in range(8):
        process = writer(database, run=f"run{run}", count=100_000, parallel=8)
        assert process.stdout is not None
        first = await asyncio.to_thread(process.stdout.readline)
        time.sleep(chance.uniform(0.0, 0.15))  # noqa: ASYNC251 - nothing else runs here
        process.send_signal(signal.SIGKILL)
        printed, _ = process.communicate(timeout=SECONDS)
        answered |= names(first + printed, "stored")
    assert len(answered) > 50
    found = stored(database)
    assert answered <= found
    assert len(found - answered) <= 8 * 16
