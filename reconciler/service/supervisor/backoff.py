"""How long to wait before trying again."""

import random
from typing import Final

BASE_SECONDS: Final = 1.0
MOST_SECONDS: Final = 300.0


class BackOff:
    """Twice as long each time, up to a limit, with full jitter: who failed together parts."""

    __slots__ = ("_attempts",)

    def __init__(self) -> None:
        self._attempts = 0

    def next(self) -> float:
        """Seconds until the next attempt."""
        most = min(MOST_SECONDS, BASE_SECONDS * 2.0**self._attempts)
        self._attempts = min(self._attempts + 1, 64)
        return random.uniform(0, most)  # noqa: S311 - spreads load

    def reset(self) -> None:
        self._attempts = 0
