"""The whole service as a process, while its disk, its limits or its surroundings fail it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest

from demo.mailserver.process import ServerProcess
from reconciler.model import EncryptionMode, ProtocolType
from reconciler.service.store import Store
from tests.cli.served import CHECKOUT, SECONDS, Answer, Served, served
from tests.service.fleet import TENANT, create, far_away, service_on
from tests.service.mounts import need_own_mounts

WORKERS = 8


class Load:
    """Callers that create gateways one after the other until the service is gone."""

    def __init__(self, service: Served) -> None:
        self.created: list[str] = []
        self.refused: dict[str, Answer] = {}
        self.asked: set[str] = set()
        self.done = Event()
        self._service = service
        self.token = service.token()

    def work(self, worker: int) -> None:
        for number in range(1_000_000):
            if self.done.is_set():
                return
            name = f"gateway-{worker}-{number}"
            self.asked.add(name)
            try:
                answer = self._service.create(self.token, far_away(name))
            except OSError:
                return
            if answer.status == 201:
                self.created.append(name)
            else:
                self.refused[name] = answer
                time.sleep(0.02)

    def wait_for(self, count: int) -> None:
        end = time.monotonic() + SECONDS
        while len(self.created) < count:
            assert time.monotonic() < end, (self.created, self._service.lines)
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
            keys = await service.ask(lambda c: c.execute("SELECT count(*) FROM answers").fetchone())
            names = sorted(one.gateway.name for one in found)
            assert sorted(one.gateway for one in trail) == names
            assert keys == (len(names),)
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
    assert busy.refused == {}


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
    ("call", "which"),
    [("fdatasync", 21), ("fdatasync", 23), ("fdatasync", 24), ("fdatasync", 25), ("pwrite64", 60)],
)
def test_a_disk_that_fails_ends_the_process(tmp_path: Path, call: str, which: int) -> None:
    """G25: what was answered is there, what was not is there whole or not at all.

    A commit syncs its journal, the folder, the journal's head, the database and the folder again.
    Of the second SQLite asks no success: the third would fail too.
    """
    database = tmp_path / "platform.db"
    stored(database)
    failing = ("strace", "-f", "--seccomp-bpf", "-qq", "-o", str(tmp_path / "log"))
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={which}")
    with served(database, prefix=(*failing, *inject)) as service, load(service) as busy:
        assert service.ended() == 10
        service.wait_for("the disk failed")
    assert busy.created
    assert all(answer.status == 503 for answer in busy.refused.values())
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
            ON_A_SMALL_DISK,
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


ON_A_SMALL_DISK = """
import sys
from pathlib import Path
from tests.service.test_process_faults import on_a_small_disk
on_a_small_disk(Path(sys.argv[1]))
"""


def on_a_small_disk(folder: Path) -> None:
    """The part of the test whose disk only this process and its children see."""
    ballast = folder / "ballast"
    with served(folder / "platform.db") as service, load(service) as busy:
        busy.wait_for(20)
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        wait_until(lambda: len(busy.refused) >= 10)
        assert {answer.status for answer in busy.refused.values()} == {507}
        problem = next(iter(busy.refused.values())).json()
        assert problem["type"] == "urn:gateways:problem:storage-full"
        before = set(busy.created)
        assert before <= set(service.names(busy.token))
        ballast.unlink()
        busy.wait_for(len(before) + 20)
        assert service.end() == 0
    found = stored(folder / "platform.db")
    assert set(busy.created) <= found <= busy.asked - busy.refused.keys()


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# limits of the process


@pytest.fixture
def mail_server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "mail", {"alice": "correct horse"}) as server:
        yield server


def declare(database: Path, server: ServerProcess, count: int) -> None:
    """Gateways that are there before the service starts."""
    port = server.ports[ProtocolType.SMTP, EncryptionMode.NONE]

    async def fill() -> None:
        async with service_on(database.parent) as service:
            await asyncio.gather(
                *(
                    create(service, far_away(f"gateway-{number:03}", host="127.0.0.1", port=port))
                    for number in range(count)
                )
            )

    asyncio.run(fill())


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_too_few_file_handles_cost_neither_the_process_nor_the_sessions(
    tmp_path: Path, mail_server: ServerProcess
) -> None:
    """G33: sessions and callers each have their share, and the API is shed first."""
    database = tmp_path / "platform.db"
    declare(database, mail_server, 400)
    limited = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh")
    with served(database, "--private-hosts", "allow", prefix=limited) as service:
        service.wait_for("400 gateways are to be connected, and only 256 files may be open")
        token = service.token()
        to = urlsplit(service.url)
        address = (to.hostname or "", to.port or 0)
        wait_until(lambda: mail_server.counters()["open"] >= 150)
        with ExitStack() as callers:
            # far more than it may have: they only connect, and say nothing
            answers = []
            for _ in range(150):
                caller = callers.enter_context(socket.create_connection(address, SECONDS))
                caller.settimeout(0.02)
                with suppress(TimeoutError):
                    answers.append(caller.recv(100))
            assert len(answers) > 50
            assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
            before = cpu_seconds(service.process.pid)
            time.sleep(1)
            assert cpu_seconds(service.process.pid) - before < 0.7
            assert mail_server.counters()["open"] >= 100
        wait_until(lambda: service.ask("GET", "/v1/gateways", token=token).status == 200)
        assert service.create(token, far_away("one-more")).status == 201
        assert service.end() == 0


def test_a_process_that_stood_still_goes_on(tmp_path: Path, mail_server: ServerProcess) -> None:
    """G31: as after a suspended machine: the sessions are there, and so are the callers."""
    database = tmp_path / "platform.db"
    declare(database, mail_server, 3)
    with served(database, "--private-hosts", "allow") as service:
        token = service.token()
        wait_until(lambda: mail_server.counters()["logins_ok"] == 3)
        service.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        service.process.send_signal(signal.SIGCONT)
        assert len(service.names(token)) == 3
        assert service.create(token, far_away("after")).status == 201
        assert mail_server.counters()["logins_ok"] == 3
        assert mail_server.counters()["open"] == 3
        assert service.end() == 0
    assert mail_server.counters()["open"] == 0
