"""What became of a button, told on the next page that the same visitor asks for."""

from dataclasses import dataclass
from typing import Final

_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Notice:
    """`kind` is `done` or `refused`."""

    kind: str
    text: str
    hint: str = ""


class Notices:
    """One for each visit, the last; of visitors who never come back the oldest are forgotten."""

    def __init__(self) -> None:
        self._waiting: dict[str, Notice] = {}

    def leave(self, visit: str, notice: Notice) -> None:
        self._waiting.pop(visit, None)
        if len(self._waiting) >= _KEPT:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[visit] = notice

    def take(self, visit: str) -> Notice | None:
        return self._waiting.pop(visit, None)
