"""The whole service as a process, while its disk, its limits or its surroundings fail it."""

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest

from reconciler.service.store import Store
from tests.cli.served import CHECKOUT, SECONDS, Answer, Served, served
from tests.service.fleet import TENANT, far_away, service_on
from tests.service.mounts import need_own_mounts
from tests.service.test_service import HOLD

WORKERS = 8


class Load:
    """Callers that create gateways one after the other until the service is gone."""

    def __init__(self, service: Served) -> None:
        self.created: list[str] = []
        self.other: list[Answer] = []
        self.asked: set[str] = set()
        self.done = Event()
        self._service = service
        self._token = service.token()

    def work(self, worker: int) -> None:
        for number in range(1_000_000):
            if self.done.is_set():
                return
            name = f"gateway-{worker}-{number}"
            self.asked.add(name)
            try:
                answer = self._service.create(self._token, far_away(name))
            except OSError:
                return
            if answer.status == 201:
                self.created.append(name)
            else:
                self.other.append(answer)
                time.sleep(0.02)

    def wait_for(self, count: int) -> None:
        end = time.monotonic() + SECONDS
        while len(self.created) < count:
            assert time.monotonic() < end, (self.created, self.other[:3], self._service.lines)
            time.sleep(0.01)


@contextmanager
def load(service: Served) -> Iterator[Load]:
    made = Load(service)
    with ThreadPoolExecutor(WORKERS) as pool:
        working = [pool.submit(made.work, worker) for worker in range(WORKERS)]
        try:
            yield made
        finally:
            made.done.set()
    for one in working:
        one.result()


def stored(database: Path) -> set[str]:
    """The gateways of a service that has ended, each whole: as its audit trail has them."""

    async def read() -> set[str]:
        async with service_on(database.parent) as service:
            found = await service.ask(lambda c: Store(c, TENANT).snapshot())
            trail = await service.ask(lambda c: Store(c, TENANT).audit())
            keys = await service.ask(lambda c: c.execute("SELECT write_key FROM answers").fetchall())
            names = sorted(one.gateway.name for one in found)
            assert sorted(one.gateway for one in trail) == names
            assert sorted(key.rpartition(":")[2] for (key,) in keys) == names
            return set(names)

    return asyncio.run(read())


# ending


def test_nothing_that_was_accepted_is_lost_at_the_end(tmp_path: Path) -> None:
    """G35: a signal in the middle of everything."""
    database = tmp_path / "platform.db"
    with served(database) as service, load(service) as busy:
        busy.wait_for(100)
        assert service.end() == 0
    found = stored(database)
    assert set(busy.created) <= found <= busy.asked
    assert busy.other == []


def test_nothing_that_was_accepted_is_lost_by_a_kill(tmp_path: Path) -> None:
    """G35: nor where the end is no graceful one."""
    database = tmp_path / "platform.db"
    with served(database) as service, load(service) as busy:
        busy.wait_for(100)
        assert service.end(signal.SIGKILL) == -signal.SIGKILL
    found = stored(database)
    assert set(busy.created) <= found <= busy.asked


# the disk


@pytest.mark.interop("strace")
@pytest.mark.parametrize(
    ("call", "which"), [("fdatasync", 21), ("fdatasync", 22), ("fsync", 12), ("pwrite64", 60)]
)
def test_a_disk_that_fails_ends_the_process(tmp_path: Path, call: str, which: int) -> None:
    """G25: what was answered is there, what was not is there whole or not at all."""
    database = tmp_path / "platform.db"
    stored(database)
    failing = ("strace", "-f", "--seccomp-bpf", "-qq", "-o", str(tmp_path / "log"))
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={which}")
    with served(database, prefix=(*failing, *inject)) as service, load(service) as busy:
        assert service.ended() == 10
        service.wait_for("the disk failed")
    assert busy.created
    assert all(answer.status == 503 for answer in busy.other)
    found = stored(database)
    assert set(busy.created) <= found <= busy.asked


@pytest.mark.interop("unshare", "mount")
def test_a_full_disk_refuses_writes_and_heals(tmp_path: Path) -> None:
    """G24, A38: no room for the audit trail is no room for the change; reading goes on."""
    need_own_mounts(tmp_path)
    script = """
        mount -t tmpfs -o size=2m tmpfs "$1" || exit
        exec "$2" -c "$3" "$1"
    """
    done = subprocess.run(
        [
            *("unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable),
            "import sys; from pathlib import Path; from tests.service import test_process_faults;"
            "test_process_faults.on_a_small_disk(Path(sys.argv[1]))",
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "well" in done.stdout


def on_a_small_disk(folder: Path) -> None:
    """The part of the test that only this process and its children see the disk of."""
    ballast = folder / "ballast"
    with served(folder / "platform.db") as service, load(service) as busy:
        busy.wait_for(20)
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        wait_until(lambda: len(busy.other) >= 10)
        refused = {answer.status for answer in busy.other}
        assert refused == {507}, busy.other
        assert busy.other[0].json()["type"] == "urn:gateways:problem:storage-full"
        token = service.token("read") if False else busy._token  # noqa: SIM210 - no room for one
        shown = service.names(token)
        assert set(busy.created) <= set(shown)
        ballast.unlink()
        busy.wait_for(len(busy.created) + 20)
        assert service.end() == 0
    found = stored(folder / "platform.db")
    assert set(busy.created) <= found
    print("well", len(found))


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
