"""Whether a moment lies in a freeze. Pure: it is told what time it is."""

from datetime import UTC, datetime, tzinfo
from typing import Final

from reconciler.clock import stamp
from reconciler.model import Freeze

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEK: Final = 7 * 24 * 60


def frozen(freeze: Freeze, moment: datetime) -> str:
    """Until when a freeze that holds at `moment` holds, in words; nothing where it does not."""
    if not freeze.weekly:
        return f"until {freeze.until}" if freeze.since <= stamp(moment) < freeze.until else ""
    start, _, end = freeze.weekly.partition(" - ")
    local = moment.astimezone(_zone(freeze.timezone))
    now = local.weekday() * 24 * 60 + local.hour * 60 + local.minute
    # counted from its beginning, so that a freeze over the turn of the week is like any other
    passed, length = (now - _minute(start)) % _WEEK, (_minute(end) - _minute(start)) % _WEEK
    return f"each week, {freeze.weekly} ({freeze.timezone})" if passed < length else ""


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only for a weekly freeze

    return ZoneInfo(name)


def _minute(text: str) -> int:
    """The minute of the week of a day and a time, written `Fri 18:00`."""
    day, _, clock = text.partition(" ")
    hours, _, minutes = clock.partition(":")
    return (_DAYS.index(day) * 24 + int(hours)) * 60 + int(minutes)
