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
from reconciler.model import ReceiveFrom
from reconciler.service.mail.intake import Intake
from reconciler.service.mail.progress import Progress

NEWEST: Final = 50
"""How many of the messages that are there at first contact are remembered by their prints."""

_ON_THE_WAY: Final = timedelta(days=7)
"""How long a message may have been on the way: longer than servers try."""

_CLOCKS_APART: Final = timedelta(hours=1)
"""How far a server's clock may be from ours."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as the server shows it without its body. Moments as stamps, empty if unknown."""

    key: int
    print: str
    arrived_at: str = ""
    sent_at: str = ""


class Sorting:
    """Sorts messages in the order of their mailbox into those that are new and the others.

    Where the server's dates of arrival do not hold, messages are as old as they say themselves.
    """

    def __init__(self, intake: Intake, floor: str, *, arrivals_hold: bool = True) -> None:
        self._intake = intake
        self._floor = floor
        self._written = _before(floor, _ON_THE_WAY) if floor else ""
        self._arrivals_hold = arrivals_hold
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
        if self._arrivals_hold:
            return bool(one.arrived_at) and one.arrived_at < self._floor
        return bool(one.sent_at) and one.sent_at < self._written


def arrivals_hold(progress: Progress, newest: Sequence[Seen]) -> bool:
    """Whether the server's dates can be true: what was dealt with had arrived by then.

    After a restore or a migration each message may have arrived on that day.
    """
    dealt_with = progress.last_seen([one.print for one in newest])
    return all(
        one.arrived_at <= _after(dealt_with[one.print], _CLOCKS_APART)
        for one in newest
        if one.print in dealt_with
    )


def floor_of(newest: Sequence[Seen], now: datetime) -> str:
    """From when on mail is new: since the newest message that is there, by its server's clock.

    A date to come is none: nothing would be new before it.
    """
    limit = stamp(now + _CLOCKS_APART)
    arrived = [one.arrived_at for one in newest if one.arrived_at <= limit]
    return max(arrived, default="") or stamp(now - timedelta(days=1))


def floor_again(earliest: str, wanted: ReceiveFrom) -> str:
    """The same where it was lost, from when messages were first dealt with, by our own clock."""
    return "" if wanted is ReceiveFrom.ALL else _before(earliest, _CLOCKS_APART)


def _before(moment: str, time: timedelta) -> str:
    return stamp(datetime.fromisoformat(moment) - time)


def _after(moment: str, time: timedelta) -> str:
    return stamp(datetime.fromisoformat(moment) + time)
