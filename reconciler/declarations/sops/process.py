"""Runs a program with a deadline and a cap on its output; its stderr goes nowhere."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread, Timer
from typing import IO, Final, Protocol, cast

SECONDS: Final = 30.0
MAX_OUTPUT: Final = 4 << 20


class ProcessFailed(Exception):
    """The program did not start, took too long or said too much. The message is ours."""


def run(
    argv: Sequence[str | Path],
    given: bytes,
    environ: Mapping[str, str],
    *,
    seconds: float = SECONDS,
    max_output: int = MAX_OUTPUT,
) -> tuple[int, bytes]:
    """Return exit code and stdout. The program and all that it started end with this call.

    Raises:
        ProcessFailed: see there.

    """
    process = _start(argv, environ)
    late: list[str] = []

    def end() -> None:
        late.append(f"it did not end within {seconds:g} s")
        _kill(process.pid)

    timer = Timer(seconds, end)
    feeder = Thread(target=_feed, args=(process.stdin, given), daemon=True)
    timer.start()
    feeder.start()
    try:
        output = _read(process.stdout, max_output)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        timer.cancel()
        timer.join()
        _kill(process.pid)  # not reaped yet, so that the number cannot be another process by now
        code = process.wait()
        feeder.join()
        process.stdout.close()
    if late:
        raise ProcessFailed(late[0])
    return code, output


class _Pipes(Protocol):
    pid: int
    stdin: IO[bytes]
    stdout: IO[bytes]

    def wait(self) -> int: ...


def _start(argv: Sequence[str | Path], environ: Mapping[str, str]) -> _Pipes:
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            start_new_session=True,  # so that what it starts can be ended with it
        )
    except OSError:
        raise ProcessFailed("it could not be started") from None
    return cast(_Pipes, process)


def _read(stdout: IO[bytes], max_output: int) -> bytes:
    output = stdout.read(max_output + 1)
    if len(output) > max_output:
        raise ProcessFailed("it printed more than a secrets file can hold")
    return output


def _feed(stdin: IO[bytes], given: bytes) -> None:
    with contextlib.suppress(OSError), stdin:  # it may end without reading all
        stdin.write(given)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
