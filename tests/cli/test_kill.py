"""Killed at any write, one more run converges: nothing lost, nothing made twice."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.world import World

WRITES = "pwrite64,fsync,fdatasync,unlink,rename,ftruncate"
# every write with GATEWAYS_KILL_STEP=1, which takes minutes; else a sample of them
STEP = int(os.environ.get("GATEWAYS_KILL_STEP", "9"))


@pytest.fixture
def half_way(world: World) -> World:
    """A platform on which an apply has an edit, a disconnect and a create to make."""
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    assert world.apply().code == 0
    shutil.copytree(world.root / ".gateways", world.root.parent / "before")
    world.declare(
        {
            "a": world.gateway(encoding_mode="GBK"),
            "b": world.gateway(2, state="disconnected"),
            "c": world.gateway(2, protocol_type="SMTP"),
        }
    )
    return world


def _restore(world: World) -> None:
    shutil.rmtree(world.root / ".gateways")
    shutil.copytree(world.root.parent / "before", world.root / ".gateways")


def _wait_out_the_lease(world: World) -> None:
    """Let the lease of a dead holder expire, without waiting for it."""
    with sqlite3.connect(world.root / ".gateways/platform.db") as database:
        database.execute("UPDATE locks SET expires = '2000-01-01T00:00:00.000000Z'")


def _read_until_done(process: "subprocess.Popen[str]") -> None:
    """Until the first change is done."""
    assert process.stdout
    for line in process.stdout:
        if ": done" in line:
            return
    raise AssertionError("apply ended before a change was done")


def _strace(world: World, *options: str) -> list[str]:
    program = shutil.which("strace") or "strace"
    return [program, "-f", "-qq", *options, *world.command("apply", "--yes")]


@pytest.mark.interop("strace")
@pytest.mark.timeout(1200)
def test_killed_at_every_write_of_apply(half_way: World, tmp_path: Path) -> None:
    world = half_way
    kills, nth = 0, 1
    while True:
        _restore(world)
        inject = f"inject={WRITES}:signal=KILL:when={nth}"
        killed = subprocess.run(
            _strace(world, "-o", str(tmp_path / "trace"), "-e", f"trace={WRITES}", "-e", inject),
            cwd=world.root,
            env=world.environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
        if killed.returncode == 0:
            break
        kills, nth = kills + 1, nth + STEP
        _wait_out_the_lease(world)
        again = world.apply()
        assert again.code == 0, f"killed at write {nth - STEP}: {again.err}"
        assert world.changes() == []
        status = world.run("status", "--format", "json").json("status")["gateways"]
        assert [one["name"] for one in status] == ["a", "b", "c"]
    assert kills >= 3, "apply writes at least once for each change"


def test_interrupt_finishes_what_is_under_way_and_says_130(half_way: World) -> None:
    world = half_way
    world.declare(
        {f"g{number}": world.gateway(labels={"number": str(number)}) for number in range(40)}
    )
    process = subprocess.Popen(
        world.command("apply", "--yes", "--max-disconnects", "2", "--parallel", "1"),
        cwd=world.root,
        env=world.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _read_until_done(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "skipped" in out
    assert "interrupted" in err
    assert "Traceback" not in err
    assert world.apply("--max-disconnects", "2").code == 0, "the lock is free, the rest is done"
    assert world.changes() == []


@contextmanager
def hanging(world: World) -> "Iterator[subprocess.Popen[str]]":
    """An apply that waits for a server which never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world.declare({"stuck": world.gateway(port=silent.getsockname()[1])})
        process = subprocess.Popen(
            world.command("apply", "--yes", "--format", "json"),
            cwd=world.root,
            env=world.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout
            for line in process.stdout:
                if "change_start" in line:
                    break
            with silent.accept()[0] as contact:
                contact.recv(1)
                yield process
        finally:
            process.kill()
            process.communicate()


def _said(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stderr
    assert any(word in line for line in process.stderr)


def test_a_second_interrupt_leaves_what_is_under_way_and_says_which(world: World) -> None:
    """P6: what was written stays, and the lock is free at once."""
    with hanging(world) as process:
        process.send_signal(signal.SIGINT)
        _said(process, "interrupted: changes under way are finished")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopping now" in err
    failed, summary = (json.loads(line) for line in out.splitlines()[-2:])
    assert (failed["type"], failed["gateway"]) == ("change_failed", "stuck")
    assert "interrupted before it was finished" in failed["message"]
    assert (summary["done"], summary["failed"]) == (0, 1)
    assert world.changes() == [("stuck", "rebuild", "planned")]
    again = world.apply("--timeout", "0.1")
    assert again.code == 9, "the lock is free; the server is as silent as before"


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.01, 0.1])
def test_interrupts_in_quick_succession_end_with_130(world: World, pause: float) -> None:
    """P6: whatever it is at, and however impatient somebody is."""
    with hanging(world) as process:
        for _ in range(20):
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err


@pytest.mark.interop("strace")
def test_second_apply_meets_the_lock_and_says_who_holds_it(half_way: World) -> None:
    world = half_way
    slow = _strace(world, "-o", "/dev/null", "-e", "inject=connect:delay_enter=20000000")
    first = subprocess.Popen(
        slow, cwd=world.root, env=world.environ, stdout=subprocess.PIPE, text=True
    )
    try:
        _read_until_done(first)  # a disconnect needs no connection; the next one hangs in it
        second = world.apply()
        assert second.code == 6
        assert "tester" in second.err
    finally:
        first.kill()
        first.communicate()
