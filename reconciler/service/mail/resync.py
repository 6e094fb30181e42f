"""A mailbox that was numbered anew: which of its messages are new all the same.

Numbers say nothing any more, so messages are told apart by their prints. Two that look alike count
as two: as many of them are known as have been dealt with, and what is more is new. What arrived
before there was a gateway, or so long ago that prints are no longer remembered, is not new.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reconciler.clock import stamp
from reconciler.service.mail.intake import Intake

NEWEST: Final = 50
"""How many of the messages that are there at first contact are remembered by their prints."""

_ON_THE_WAY: Final = timedelta(days=7)
"""How long a message may have been on the way: longer than servers try."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as the server shows it without its body. Moments as stamps, empty if unknown."""

    key: int
    print: str
    arrived_at: str = ""
    sent_at: str = ""


class Sorting:
    """Sorts messages in the order of their mailbox into those that are new and the others."""

    def __init__(self, intake: Intake, floor: str) -> None:
        self._intake = intake
        self._floor = floor
        self._written = _earlier(floor) if floor else ""
        self._met: Counter[str] = Counter()
        self.evident = False
        """Whether a message was met that is not new: so the mailbox is the one that was known."""

    async def new(self, messages: Sequence[Seen]) -> list[Seen]:
        """Those of the next messages that are to be listed. They count as dealt with from now on.

        Raises:
            PlatformUnavailable: the database cannot be read.

        """
        prints = [one.print for one in messages]
        known = await self._intake.look(lambda progress: progress.prints(prints))
        found = []
        for one in messages:
            dealt_with = self._met[one.print] < known.get(one.print, 0)
            if dealt_with or not self._is_old(one):
                self._met[one.print] += 1
            if dealt_with or self._is_old(one):
                self.evident = True
            else:
                found.append(one)
        return found

    def _is_old(self, one: Seen) -> bool:
        arrived = bool(one.arrived_at) and one.arrived_at < self._floor
        written = bool(one.sent_at) and one.sent_at < self._written
        return arrived or written


def floor_of(newest: Sequence[Seen], now: datetime) -> str:
    """From when on mail is new: since the newest message that is there, by its server's clock."""
    return max((one.arrived_at for one in newest), default="") or stamp(now - timedelta(days=1))


def _earlier(floor: str) -> str:
    return stamp(datetime.fromisoformat(floor) - _ON_THE_WAY)
