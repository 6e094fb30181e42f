"""A database of an earlier version, and what may happen while it becomes one of this version."""

import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.model import Gateway, ProtocolType, Status, StatusState
from reconciler.service.database import open_writable
from reconciler.service.store import Store
from reconciler.service.upgrade import APPLICATION_ID, MIGRATIONS, VERSION
from tests.service.test_crash import CALLS, CHECKOUT, strace

SECONDS = 60.0
POINTS = 8
NOW = "2026-01-01T00:00:00Z"
NAMES = [f"gateway-{number:02}" for number in range(20)]

UPGRADE = """
from pathlib import Path
from reconciler.service.database import open_writable
open_writable(Path("platform.db"), check=True).close()
"""


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A database as the first version has left it."""
    path = tmp_path / "first" / "platform.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript((MIGRATIONS / "0001_gateways.sql").read_text())
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        store = Store(connection, "local")
        for name in NAMES:
            gateway = Gateway(name, ProtocolType.SMTP, "mail.example.com", 25)
            store.insert(gateway, "ours", Status(StatusState.CONNECTING, NOW, NOW), NOW)
    return path


def held(path: Path) -> tuple[int, list[str]]:
    """The version and the gateways of a database, which must be whole."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        rows = connection.execute("SELECT name FROM gateways ORDER BY name")
        return version, [row[0] for row in rows]


def test_as_it_was_it_is_kept_beside(first: Path, caplog: pytest.LogCaptureFixture) -> None:
    """G36: and it is said where."""
    before = first.read_bytes()
    with caplog.at_level("INFO", "gateways.database"):
        open_writable(first).close()
    assert held(first) == (VERSION, NAMES)
    kept = first.with_name("platform.db.version-1")
    assert held(kept) == (1, NAMES)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert str(kept) in caplog.text
    # who wants to go back puts it in its place
    shutil.copy(kept, first)
    assert len(first.read_bytes()) == len(before)
    open_writable(first).close()
    assert held(first) == (VERSION, NAMES)


def test_a_new_database_has_nothing_to_keep(tmp_path: Path) -> None:
    open_writable(tmp_path / "platform.db").close()
    assert [path.name for path in tmp_path.iterdir()] == ["platform.db"]


def run(folder: Path, *prefix: str) -> int:
    command = [*prefix, sys.executable, "-c", UPGRADE]
    environment = {"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, timeout=SECONDS, capture_output=True
    )
    return done.returncode


@pytest.mark.interop("strace")
def test_killed_at_any_call_it_is_one_version_or_the_other(first: Path, tmp_path: Path) -> None:
    """G36: from the first byte of the copy on, at evenly spaced calls; the next start goes on."""
    counted = tmp_path / "counted"
    shutil.copytree(first.parent, counted)
    assert run(counted, *strace("trace=all", tmp_path / "log")) == 0
    calls = []
    counts: Counter[str] = Counter()
    for line in (tmp_path / "log").read_text().splitlines():
        call = line.partition(" ")[2].strip().partition("(")[0]
        if call in CALLS:
            counts[call] += 1
            calls.append((call, counts[call]))
    assert len(calls) > 4 * VERSION
    versions = set()
    for place in sorted({step * (len(calls) - 1) // (POINTS - 1) for step in range(POINTS)}):
        call, which = calls[place]
        folder = tmp_path / str(place)
        shutil.copytree(first.parent, folder)
        killing = strace(f"inject={call}:signal=KILL:when={which}", tmp_path / "log")
        assert run(folder, *killing) != 0
        version, names = held(folder / "platform.db")
        assert names == NAMES, f"killed at {call} {which}"
        versions.add(version)
        for kept in folder.glob("platform.db.version-?"):
            assert held(kept) == (int(kept.name[-1]), NAMES)
        assert version == 1 or (folder / "platform.db.version-1").exists()
        assert run(folder) == 0
        assert held(folder / "platform.db") == (VERSION, NAMES)
    assert len(versions) > 2
