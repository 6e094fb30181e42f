"""The rows about sessions that are kept: what one costs, and what happens when all are lost."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.accounts import accounts
from bench.measure import Failed, Side, Spread, compare
from bench.peers import CHECKOUT, ours
from bench.table import Row
from demo.mailserver.process import ServerProcess
from reconciler.model import EncryptionMode, ProtocolType

if TYPE_CHECKING:
    from bench.rows import Setup

KIB: Final = 1024
PER_SECOND: Final = 50
_AT_ONCE: Final = "200"  # connections a second where the pace is not what is measured
_PATIENCE_SECONDS: Final = 600.0


def held_memory(setup: "Setup") -> Iterator[Row]:
    """G1: all that this process needs for one more session; the program itself weighs the same."""
    many, few = setup.size(2_000), setup.size(500)
    folder = setup.projects.folder / "held"
    with ServerProcess(folder / "mail", accounts(many)) as server:
        sides = [
            Side(
                [ours("python"), "-m", "bench.held", _filled(folder, size, server), _AT_ONCE],
                CHECKOUT,
            )
            for size in (many, few)
        ]
        large, small = compare(sides, setup.runs)
    each = (large.memory.median - small.memory.median) * KIB / (many - few)
    what = f"{many:,} TLS sessions held, memory of each"
    yield Row("G1", what, Spread.of([each]), "KiB", "a limit", None, 60.0)


def storm(setup: "Setup") -> Iterator[Row]:
    """G5: a mail server is restarted under all of its sessions, in real time; once."""
    count = setup.size(10_000)
    folder = setup.projects.folder / "storm"
    with ServerProcess(folder / "mail", accounts(count)) as server:
        command = [ours("python"), "-m", "bench.held", _filled(folder, count, server)]
        holder = subprocess.Popen(
            [*map(str, command), str(PER_SECOND)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        said = b""
        try:
            _wait_until_open(server, holder, count)
            server.stop()
            server.start()
            start = time.monotonic()
            _wait_until_open(server, holder, count)
            seconds = time.monotonic() - start
        finally:
            said, _ = holder.communicate()
    what = f"{count:,} TLS sessions lost at once"
    connections = Spread.of([float(said)])
    yield Row(
        "G5", f"{what}, busiest second", connections, "connections", "a limit", None, PER_SECOND
    )
    least = Spread.of([count / PER_SECOND])
    peer = f"{PER_SECOND} a second"
    yield Row("G5", f"{what}, all back", Spread.of([seconds]), "s", peer, least, 1.2)


def _filled(folder: Path, count: int, server: ServerProcess) -> Path:
    """A database of so many gateways on this server; it lasts as long as the server's ports do."""
    database = folder / f"{count}" / "platform.db"
    if not database.exists():
        port = server.ports[ProtocolType.IMAP, EncryptionMode.TLS]
        words = ["-m", "bench.held", "--fill", database, count, port, server.ca_file]
        subprocess.run([sys.executable, *map(str, words)], cwd=CHECKOUT, check=True)
    return database


def _wait_until_open(server: ServerProcess, holder: "subprocess.Popen[bytes]", count: int) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while server.counters()["open"] < count:
        if holder.poll() is not None or time.monotonic() > end:
            raise Failed(f"{count} sessions were not opened")
        time.sleep(0.1)
