"""The one place that asks for the time."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Clock = Callable[[], datetime]

_EPOCH_DIGITS: Final = 11
"""Seconds of this many digits reach to the year 5138; a year has at most four digits."""


def now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """UTC, ISO 8601, whole seconds, with a Z."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def exact(moment: datetime) -> str:
    """The same to the microsecond: as text it sorts by time, which a lease relies on."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def created_at() -> str:
    """When a plan is made; SOURCE_DATE_EPOCH sets it, so that a build can be repeated."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    known = len(epoch) <= _EPOCH_DIGITS and epoch.isascii() and epoch.isdigit()
    return stamp(datetime.fromtimestamp(int(epoch), UTC) if known else now())
