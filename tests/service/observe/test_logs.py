"""Lines of a log: whole, in one form, without secrets, and never in the service's way."""

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reconciler.service.observe import logs
from reconciler.service.observe.logs import Lines
from reconciler.service.observe.repeats import PER_SECOND, Repeats

TOKEN = "gwt_abcdefghijkl." + "S" * 43 + ".aHR0cHM6Ly9leGFtcGxl"
WEBHOOK_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
MOMENT = re.compile(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@contextmanager
def logger(*, as_json: bool = False) -> Iterator[tuple[logging.Logger, list[str]]]:
    """A logger of its own, and the lines that come of it; all are there after the `with`."""
    written: list[str] = []
    lines = Lines(written.append, as_json=as_json)
    made = logging.getLogger("gateways.test")
    made.setLevel(logging.DEBUG)
    made.addHandler(lines)
    made.propagate = False
    try:
        yield made, written
    finally:
        made.removeHandler(lines)
        made.propagate = True
        lines.close()


def test_text() -> None:
    with logger() as (log, written):
        log.info("ready")
        log.warning("the target %s", "fails", extra={"tenant": "acme", "words": "in two"})
    first, second = written
    assert MOMENT.sub("AT", first) == "AT ready"
    assert MOMENT.sub("AT", second) == 'AT warning: the target fails tenant=acme words="in two"'


def test_json() -> None:
    with logger(as_json=True) as (log, written):
        log.error("it %s", "fails", extra={"gateway": "support", "ms": 1.5, "token": None})
    told = json.loads(written[0])
    assert MOMENT.fullmatch(told.pop("at"))
    assert told == {
        "level": "error",
        "logger": "gateways.test",
        "message": "it fails",
        "gateway": "support",
        "ms": 1.5,
        "token": None,
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_begins_a_line_of_its_own_or_steers_a_terminal(*, as_json: bool) -> None:
    """A21."""
    hostile = "a\r\n2026-11-22T10:00:00.000Z forged\x1b[2J\x9b\u202e\u2028\x00\ud800"
    with logger(as_json=as_json) as (log, written):
        log.warning("%s", hostile, extra={"said": hostile, "list": [hostile]})
    (line,) = written
    assert "forged" in line
    assert line.isprintable()
    assert line.isascii() or not as_json


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_is_told_by_its_place_alone(*, as_json: bool) -> None:
    def failing(password: str) -> None:
        raise ValueError(password)

    with logger(as_json=as_json) as (log, written):
        try:
            failing("correct horse")
        except ValueError:
            log.exception("it failed")
    (text,) = written
    assert "correct horse" not in text
    assert "ValueError" in text
    assert "test_logs.py" in text
    assert "failing" in text


SECRET_TEXTS = (
    TOKEN,
    f"Authorization: Bearer {TOKEN}",
    "Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==",
    f"made {WEBHOOK_SECRET} for it",
    "AUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=",
    "a1 AUTHENTICATE PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=",
    'a1 LOGIN alice "correct-horse"',
    "PASS correct-horse",
)
SECRETS = ("S" * 43, "Y29ycmVjdCBob3JzZQ", "C2FVsBQI", "AGFsaWNl", "correct")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_the_net_below_the_rule(text: str, *, as_json: bool) -> None:
    """A37: what should never have been handed over is masked all the same."""
    with logger(as_json=as_json) as (log, written):
        log.warning("said %s", text)
        log.warning("about", extra={"said": text})
    assert len(written) == 2
    for line in written:
        assert "***" in line
        assert not [secret for secret in SECRETS if secret in line]


def test_what_is_no_secret_is_left() -> None:
    plain = "token k3v9abcdefgh, AUTH PLAIN is not offered, LOGIN fails, the basic plan, PASS"
    with logger() as (log, written):
        log.info(plain)
    assert written[0].endswith(plain)


def test_a_storm_is_told_in_part() -> None:
    with logger() as (log, written):
        for number in range(10_000):
            log.warning("session %d failed", number)
        log.warning("something else")
        time.sleep(1.1)  # the second in which they came is over
    told = [line for line in written if re.search(r"session \d+ failed", line)]
    more = [line for line in written if "more like this" in line]
    # on a slow machine they take more than one second
    assert PER_SECOND <= len(told) <= 20 * PER_SECOND
    counted = sum(
        int(re.findall(r"(\d+) more like this within a second: ", one)[0]) for one in more
    )
    assert len(told) + counted == 10_000
    assert any("something else" in line for line in written)


def test_seconds_of_repeats() -> None:
    now = [0.0]
    repeats = Repeats(lambda: now[0])

    def admitted(count: int, message: str = "x", name: str = "gateways.test") -> int:
        record = logging.LogRecord(name, logging.INFO, "", 0, message, (), None)
        return sum(repeats.admits(record) for _ in range(count))

    assert admitted(100) == PER_SECOND
    assert admitted(100, "y") == PER_SECOND
    assert admitted(1_000, name="gateways.access") == 200
    assert list(repeats.left_out()) == []
    now[0] = 1.0
    assert admitted(100) == PER_SECOND
    assert sorted(repeats.left_out()) == [
        ("gateways.access", logging.INFO, "x", 800),
        ("gateways.test", logging.INFO, "x", 80),
        ("gateways.test", logging.INFO, "y", 80),
    ]
    # kinds that nobody has counted on are not kept for ever
    for number in range(5_000):
        admitted(21, f"kind {number}")
    assert len(repeats._seconds) <= 1_000
    assert sum(count for *_, count in repeats.left_out()) >= 4_000


def test_nobody_who_logs_waits_for_who_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """G38: a reader that stands still; what was not written is counted."""
    monkeypatch.setattr(logs, "WAITING", 50)
    monkeypatch.setattr(logs, "_FLUSH_SECONDS", 0.1)
    reads = threading.Event()
    written: list[str] = []

    def stuck(line: str) -> None:
        reads.wait()
        written.append(line)

    lines = Lines(stuck, as_json=False)
    began = time.monotonic()
    for number in range(200):
        lines.handle(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", (), None))
    lines.flush()
    assert time.monotonic() - began < 10
    assert written == []
    reads.set()
    while not any("left out" in line for line in written):
        time.sleep(0.01)
    lines.close()
    told = [line for line in written if re.search(r"line \d+$", line)]
    (lost,) = [int(found[1]) for line in written if (found := re.search(r"(\d+) lines were", line))]
    assert len(told) + lost == 200
    assert "line 0" in told[0]


def test_a_line_that_cannot_be_made_or_written(capsys: pytest.CaptureFixture[str]) -> None:
    written: list[str] = []

    def broken(line: str) -> None:
        if "one" in line:
            raise BrokenPipeError
        written.append(line)

    lines = Lines(broken, as_json=False)
    for message, values in (("%d", ("no number",)), ("one", ()), ("two", ())):
        lines.handle(logging.LogRecord("x", logging.INFO, "", 0, message, values, None))
    lines.close()
    assert any("two" in line for line in written)
    assert any("1 lines were left out" in line for line in written)
    # logging's own way would have printed what the line was made of
    assert capsys.readouterr().err == ""
