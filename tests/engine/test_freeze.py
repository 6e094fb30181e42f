"""Freezes: when they hold, and that nothing is applied then."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.engine.freeze import frozen
from reconciler.engine.guard import refuse_frozen
from reconciler.model import Action, Change, Freeze, Plan

HOLIDAYS = Freeze("holidays", since="2026-12-20T00:00:00Z", until="2027-01-04T00:00:00Z")
WEEKEND = Freeze("weekend", weekly="Fri 18:00 - Mon 06:00")
BERLIN = Freeze("weekend", weekly="Fri 18:00 - Mon 06:00", timezone="Europe/Berlin")
NIGHT = Freeze("night", weekly="Tue 22:00 - Wed 05:00")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("freeze", "moment", "holds"),
    [
        (HOLIDAYS, "2026-12-19T23:59:59Z", False),
        (HOLIDAYS, "2026-12-20T00:00:00Z", True),
        (HOLIDAYS, "2027-01-03T23:59:59Z", True),
        (HOLIDAYS, "2027-01-04T00:00:00Z", False),
        (WEEKEND, "2026-11-20T17:59:59Z", False),
        (WEEKEND, "2026-11-20T18:00:00Z", True),
        (WEEKEND, "2026-11-22T12:00:00Z", True),
        (WEEKEND, "2026-11-23T05:59:59Z", True),
        (WEEKEND, "2026-11-23T06:00:00Z", False),
        (BERLIN, "2026-11-20T17:00:00Z", True),
        (BERLIN, "2026-11-20T16:59:00Z", False),
        (BERLIN, "2026-07-17T16:00:00Z", True),  # summer time
        (NIGHT, "2026-11-24T22:00:00Z", True),
        (NIGHT, "2026-11-25T05:00:00Z", False),
        (NIGHT, "2026-11-22T23:00:00Z", False),
    ],
)
def test_when_it_holds(freeze: Freeze, moment: str, holds: bool) -> None:  # noqa: FBT001 - a table
    assert bool(frozen(freeze, at(moment))) is holds


def test_every_minute_of_a_week_is_in_or_out() -> None:
    start = datetime(2026, 11, 16, tzinfo=UTC)
    minutes = [start + timedelta(minutes=number) for number in range(7 * 24 * 60)]
    held = sum(bool(frozen(WEEKEND, moment)) for moment in minutes)
    assert held == (2 * 24 + 12) * 60


def test_a_frozen_plan_is_shown_and_blocked() -> None:
    change = Change("a", Action.CREATE, "not on the platform")
    plan = Plan("production", "http", (change,), created_at="2026-12-24T12:00:00Z")
    (reason,) = refuse_frozen(plan, (WEEKEND, HOLIDAYS)).blocked
    assert reason == "target production is frozen until 2027-01-04T00:00:00Z: holidays"


def test_nothing_to_do_is_never_frozen() -> None:
    plan = Plan("production", "http", created_at="2026-12-24T12:00:00Z")
    assert refuse_frozen(plan, (HOLIDAYS,)).applicable
