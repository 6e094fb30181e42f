"""Lines that say the same again and again: some of each second, and how many there were."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

PER_SECOND: Final = 20
LIMITS: Final[Mapping[str, int]] = MappingProxyType({"gateways.access": 200})
"""Lines of one kind that pass within a second, where it is not the usual number."""

_KINDS: Final = 1_000

Kind = tuple[str, int, str]
"""Logger, level, and the message before anything was put into it."""


@dataclass(slots=True)
class _Second:
    began: float
    passed: int = 0
    left_out: int = 0


class Repeats:
    """Counts the lines of each kind; used by one thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: dict[Kind, _Second] = {}
        self._past: list[tuple[Kind, int]] = []

    def admits(self, record: logging.LogRecord) -> bool:
        """Whether a line may pass; if not, it is counted."""
        kind = (record.name, record.levelno, str(record.msg))
        now = self._clock()
        second = self._seconds.get(kind)
        if second is None or now - second.began >= 1:
            if len(self._seconds) >= _KINDS:
                self._end_seconds(now)
            self._end(kind)
            second = self._seconds[kind] = _Second(now)
        if second.passed >= LIMITS.get(record.name, PER_SECOND):
            second.left_out += 1
            return False
        second.passed += 1
        return True

    def left_out(self) -> Iterator[tuple[str, int, str, int]]:
        """What was left out in seconds that are over: logger, level, message, how often."""
        self._end_seconds(self._clock())
        past, self._past = self._past, []
        for (name, level, message), count in past:
            yield name, level, message, count

    def _end_seconds(self, now: float) -> None:
        for kind, second in list(self._seconds.items()):
            if now - second.began >= 1 or len(self._seconds) >= _KINDS:
                self._end(kind)

    def _end(self, kind: Kind) -> None:
        second = self._seconds.pop(kind, None)
        if second and second.left_out:
            self._past.append((kind, second.left_out))
