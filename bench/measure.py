"""Runs commands side by side and says how long they took and how much memory they needed.

Each command is a process of its own. Those that are compared run in turn, so that whatever else the
machine does meets all of them.
"""

import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Self:
        return cls(statistics.median(figures), min(figures), max(figures))

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)}-{_short(self.high)})"


def _short(figure: float) -> str:
    """Three digits, and never an exponent where it is large."""
    return f"{figure:.3g}" if abs(figure) < 1_000 else f"{figure:,.0f}"


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Side:
    """One of the commands that are compared. `before` is done ahead of each run, unmeasured."""

    command: Sequence[str | Path]
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Figures:
    """What all runs of one side took: seconds, and the peak of its largest process in MiB."""

    seconds: Spread
    memory: Spread


class Failed(Exception):
    """A command that was to be measured did not end with 0: its figures would mean nothing."""


def compare(sides: Sequence[Side], runs: int) -> list[Figures]:
    """Run all sides in turn, `runs` times."""
    samples = [[_run(side) for side in sides] for _ in range(runs)]
    return [
        Figures(
            Spread.of([seconds for seconds, _ in of_one]),
            Spread.of([memory for _, memory in of_one]),
        )
        for of_one in zip(*samples, strict=True)
    ]


def compare_printed(sides: Sequence[Side], runs: int) -> list[Spread]:
    """Run all sides in turn; each measures for itself, and prints one figure at its end."""
    samples = [[_printed(side) for side in sides] for _ in range(runs)]
    return [Spread.of(of_one) for of_one in zip(*samples, strict=True)]


def _printed(side: Side) -> float:
    side.before()
    ran = subprocess.run(
        [str(word) for word in side.command],
        check=False,
        cwd=side.folder,
        env={**os.environ, **side.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise Failed(f"{side.command} ended with {ran.returncode}\n{ran.stderr[-2000:]}")
    return float(ran.stdout)


def _run(side: Side) -> tuple[float, float]:
    """Seconds and MiB of one run, from before its start to after its end."""
    side.before()
    start = perf_counter()
    process = subprocess.Popen(
        [str(word) for word in side.command],
        cwd=side.folder,
        env={**os.environ, **side.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None  # noqa: S101 - it was asked for
    said = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = said.decode(errors="replace")[-2000:]
        raise Failed(f"{side.command} ended with {process.returncode}\n{tail}")
    return seconds, usage.ru_maxrss / 1024
