"""How long is waited before the next attempt, and when nobody waits any longer."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from reconciler.platforms.http_retry import Patience, Waits, retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def http_date(**since: float) -> str:
    return format_datetime(NOW + timedelta(**since), usegmt=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("86400", 86_400.0),
        ("9" * 20, 1e20),
        (http_date(seconds=90), 90.0),
        (http_date(days=365), 365 * 86_400.0),
        # nothing that can be done: then it is as if nothing had been said
        ("", None),
        ("0", None),
        ("-5", None),
        ("9" * 400, None),
        ("soon", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("٣", None),
        ("7, 8", None),
        (http_date(seconds=-90), None),
        ("Thu, 01 Jan 2026", None),
        ("Thu, 99 Jan 2026 00:00:00 GMT", None),
        ("Thu, 01 Jan 2026 00:01:00 -0000", None),
    ],
)
def test_what_retry_after_asks_for(text: str, seconds: float | None) -> None:
    """P12."""
    assert retry_after({"Retry-After": text}, lambda: NOW) == seconds


def test_a_date_is_taken_against_the_clock_that_wrote_it() -> None:
    """P16."""
    headers = {"Retry-After": http_date(minutes=10, seconds=5), "Date": http_date(minutes=10)}
    assert retry_after(headers, lambda: NOW) == 5.0
    assert retry_after({**headers, "Date": "yesterday"}, lambda: NOW) == 605.0
    assert retry_after({}, lambda: NOW) is None


def test_nobody_comes_back_earlier_than_asked_nor_all_at_once() -> None:
    """P12."""
    waits = [Waits(Patience(), 0.0).pause(20.0, 0.0, heard=True) for _ in range(50)]
    assert all(wait is not None and 20.0 <= wait <= 21.0 for wait in waits)
    assert len(set(waits)) > 40


def test_waits_grow_until_there_were_enough() -> None:
    patience = Patience(attempts=6, first=1.0, longest=4.0)
    waits = Waits(patience, 0.0)
    pauses = [waits.pause(None, 0.0, heard=True) for _ in range(6)]
    assert pauses[-1] is None
    for pause, middle in zip(pauses[:-1], (1.0, 2.0, 4.0, 4.0, 4.0), strict=True):
        assert pause is not None
        assert middle * 0.5 <= pause <= middle * 1.5


def test_a_stranger_is_given_up_earlier() -> None:
    """Its address is more likely wrong than its network."""
    waits = Waits(Patience(strange=2), 0.0)
    assert waits.pause(None, 0.0, heard=False) is not None
    assert waits.pause(None, 0.0, heard=False) is None


def test_no_wait_outlasts_the_budget() -> None:
    """P12: however it is asked for."""
    patience = Patience(budget=300.0)
    assert Waits(patience, 0.0).pause(298.0, 0.0, heard=True) is not None
    assert Waits(patience, 0.0).pause(301.0, 0.0, heard=True) is None
    assert Waits(patience, 0.0).pause(10.0, 295.0, heard=True) is None
    assert Waits(patience, 0.0).pause(1e20, 0.0, heard=True) is None
    assert Waits(patience, 0.0).pause(None, 299.99, heard=True) is None


def test_being_told_when_uses_up_no_attempt() -> None:
    waits = Waits(Patience(attempts=2), 0.0)
    for _ in range(20):
        assert waits.pause(1.0, 0.0, heard=True) is not None
    assert waits.pause(None, 0.0, heard=True) is not None
