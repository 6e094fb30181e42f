"""When to ask again: how long to wait, and when to give up."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from reconciler.clock import Clock, now

_NUMBER: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer is waited for. Times are seconds.

    One attempt takes `attempt` at most, and no wait begins that would end after `budget`, whoever
    asks for it. Where nobody says when to come back there are `attempts`, with waits between them
    that grow from `first` to `longest`; and only `strange` where the service was not heard yet,
    since then its address is more likely wrong than its network.
    """

    attempt: float = 30.0
    budget: float = 300.0
    attempts: int = 8
    strange: int = 3
    first: float = 0.25
    longest: float = 8.0


@dataclass(slots=True)
class Waits:
    """The waits of one request that began at `began`, a monotonic time."""

    patience: Patience
    began: float
    failed: int = field(default=0, init=False)

    def pause(self, asked: float | None, now: float, *, heard: bool) -> float | None:
        """Seconds to wait before the next attempt; None to give up.

        `asked` is what the service asks for. Nobody comes back earlier, and not all at once.
        """
        patience = self.patience
        if asked is not None:
            wait = asked + min(1.0, asked) * random.random()  # noqa: S311 - spreads load
        else:
            self.failed += 1
            if self.failed >= (patience.attempts if heard else patience.strange):
                return None
            longest = min(patience.longest, patience.first * 2 ** (self.failed - 1))
            wait = longest * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load
        return wait if now + wait - self.began <= patience.budget else None


def retry_after(headers: Mapping[str, str], clock: Clock = now) -> float | None:
    """Seconds that the header Retry-After asks for; None where it says nothing that can be done.

    A date is taken against the answer's own, so that it does not matter if two clocks differ.
    """
    text = headers.get("Retry-After", "").strip()
    if _NUMBER.fullmatch(text):
        return float(text) or None
    moment = _date(text)
    if moment is None:
        return None
    seconds = (moment - (_date(headers.get("Date", "")) or clock())).total_seconds()
    return seconds if seconds > 0 else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
