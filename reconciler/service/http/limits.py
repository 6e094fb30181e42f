"""How much one caller may ask for: requests a second, requests at once, failed tokens."""

from dataclasses import dataclass
from typing import Final

_KEPT: Final = 10_000
"""Callers remembered; beyond that those that have been still the longest are forgotten."""


@dataclass(slots=True)
class Bucket:
    """What is left of a caller's burst, which fills up again with time; at once: under way now."""

    left: float
    at: float
    at_once: int = 0


class Buckets:
    """A bucket for each caller: `rate` drops a second fall into it, and `burst` is all it holds."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, Bucket] = {}

    def of(self, caller: str, now: float) -> Bucket:
        """The caller's bucket, filled up to now (a monotonic time in seconds)."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._forget()
            bucket = self._buckets[caller] = Bucket(self._burst, now)
        else:
            bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._rate)
            bucket.at = now
        return bucket

    def wait(self, bucket: Bucket) -> float:
        """Seconds until the caller may ask again; 0 if now."""
        return max(0.0, (1 - bucket.left) / self._rate)

    def _forget(self) -> None:
        if len(self._buckets) >= _KEPT:
            idle = sorted(
                (one for one in self._buckets.items() if not one[1].at_once),
                key=lambda one: one[1].at,
            )
            for caller, _ in idle[: _KEPT // 2]:
                del self._buckets[caller]
