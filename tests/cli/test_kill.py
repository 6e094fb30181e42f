"""Killed at any write, one more run converges: nothing lost, nothing made twice."""

import os
import shutil
import signal
import sqlite3
import subprocess
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
