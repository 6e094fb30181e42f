"""`make demo` goes as it promises, shows no password, and leaves nothing behind or running."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from demo.teller import Teller

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "demo.story"]
SECONDS = 110.0
LANDMARKS = (
    "exit code 3, as expected",
    "rotated",
    "<!-- gateways plan: local -->",
    "1 drifted",
    "max_disconnects",
    "disconnected",
)


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(folder), "HOME": str(folder / "home")}


def processes(folder: Path) -> list[str]:
    """The command lines of running processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if str(folder) in words:
            found.append(words)
    return found


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("gateways-demo-*")] + processes(folder)


def declarations() -> Iterator[tuple[str, str]]:
    for path in sorted((CHECKOUT / "gateways.d").rglob("*")):
        if path.is_file():
            yield str(path), hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("command", "exit_code", "says", "expected"),
    [
        (["echo", "hello"], 0, ["hello"], []),
        (["echo", "hello"], 0, ["goodbye"], ["its output does not say 'goodbye'"]),
        (["false"], 0, [], ["exit code 1, expected 0"]),
        (["true"], 3, ["x"], ["exit code 0, expected 3", "its output does not say 'x'"]),
    ],
)
def test_what_differs_is_noted(
    tmp_path: Path, command: list[str], exit_code: int, says: list[str], expected: list[str]
) -> None:
    teller = Teller(StringIO(), colours=False)
    teller.run(command, folder=tmp_path, environ=os.environ, exit_code=exit_code, says=says)
    assert [difference.text for difference in teller.differences] == expected


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "environ", "expected"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (StringIO(), {}, False),
    ],
)
def test_colours_on_a_terminal_only(
    out: StringIO, environ: dict[str, str], *, expected: bool
) -> None:
    teller = Teller.on(out, environ)
    teller.chapter("Once", "upon a time")
    assert ("\x1b[" in out.getvalue()) is teller.colours is expected


def test_the_demo(tmp_path: Path) -> None:
    before = dict(declarations())
    done = subprocess.run(
        COMMAND,
        cwd=CHECKOUT,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    chapters = re.findall(r"^\d+\. (.*)$", done.stdout, re.MULTILINE)
    assert chapters[1:4] == ["A broken declaration", "Mended", "Plan and apply"]
    for landmark in LANDMARKS:
        assert landmark in done.stdout
    assert "Every command ended as expected" in done.stdout
    assert "\x1b[" not in done.stdout
    assert "Traceback" not in done.stdout
    assert left_behind(tmp_path) == []
    assert dict(declarations()) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        COMMAND,
        cwd=CHECKOUT,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "A broken declaration" in line:
                break
        assert left_behind(tmp_path)
        os.killpg(running.pid, number)
        rest = running.stdout.read()
        assert running.wait(SECONDS) == 130
    assert "Traceback" not in rest
    until = time.monotonic() + SECONDS
    while left_behind(tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert left_behind(tmp_path) == []
