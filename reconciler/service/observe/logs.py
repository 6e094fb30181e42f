"""What the service says while it runs: a line for each event, as text or as JSON.

Lines are written by a thread: whoever reads them may be slow or stuck, and the service is neither.
"""

import json
import logging
import queue
import re
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.service.observe.repeats import Repeats

WAITING: Final = 10_000
"""Lines that wait for a stuck reader; beyond that they are counted, and the count is told."""

_TICK_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 2.0
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What every record has; all else was given by `extra`, and says what the event is about."""

_WORD: Final = re.compile(r"[\w.:/@{}+-]+", re.ASCII)

# The rule is that no secret is handed to a logger. This is the net below it: what our own secrets
# and logins look like on the wire.
_SECRETS: Final = (
    (re.compile(r"(gwt_[a-z0-9]{12})\.[\w-]{16,}(?:\.[\w-]*)?", re.ASCII), r"\1.***"),
    (re.compile(r"whsec_[\w+/=-]{16,}", re.ASCII), "whsec_***"),
    (re.compile(r"\b(bearer|basic) [\w.~+/=-]{8,}", re.ASCII | re.IGNORECASE), r"\1 ***"),
    (re.compile(r"\b(AUTH(?:ENTICATE)? [A-Z0-9-]+) [\w+/=]{8,}", re.ASCII), r"\1 ***"),
    (re.compile(r"(\d LOGIN \S+|\bPASS) \S+", re.ASCII), r"\1 ***"),
)


class Lines(logging.Handler):
    """Formats records, lets a storm of equal ones pass in part, and hands them to the writer.

    `write` gets one line at a time, without its end. `close` waits for what is left, but not for
    ever.
    """

    def __init__(self, write: Callable[[str], None], *, as_json: bool) -> None:
        super().__init__()
        self.setFormatter(JsonLine() if as_json else TextLine())
        self._write = write
        self._repeats = Repeats()
        self._waiting: queue.Queue[str | threading.Event | None] = queue.Queue(WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if not self._repeats.admits(record):
            return
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - whatever stands in a record, the service goes on
            self.handleError(record)
        else:
            self._put(line)

    def flush(self) -> None:
        """Wait until all that was said is written; at most two seconds."""
        with self.lock or threading.Lock():
            self._tell_repeats()
        written = threading.Event()
        if self._put(written):
            written.wait(_FLUSH_SECONDS)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A line that cannot be made is counted; the usual way would print what it was made of."""
        self._lost += 1

    def close(self) -> None:
        self.flush()
        self._put(None)
        super().close()

    def _put(self, what: str | threading.Event | None) -> bool:
        try:
            self._waiting.put_nowait(what)
        except queue.Full:
            self._lost += isinstance(what, str)
            return False
        return True

    def _run(self) -> None:
        while True:
            try:
                what = self._waiting.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                with self.lock or threading.Lock():
                    self._tell_repeats()
                continue
            if what is None:
                return
            if isinstance(what, threading.Event):
                what.set()
                continue
            with suppress(OSError, ValueError):  # the reader is gone
                self._write(what)
                if self._lost:
                    lost, self._lost = self._lost, 0
                    self._write(self.format(_record("%d lines were left out", lost)))

    def _tell_repeats(self) -> None:
        for name, level, message, count in self._repeats.left_out():
            record = _record("%d more like this within a second: %s", count, message)
            record.name, record.levelno, record.levelname = name, level, logging.getLevelName(level)
            self._put(self.format(record))


class TextLine(logging.Formatter):
    """For people: the moment, what happened, and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        about = "".join(f" {key}={_word(value)}" for key, value in _about(record).items())
        lines = [f"{_moment(record)} {level}{record.getMessage()}{about}", *_place(record)]
        return _masked("\n  ".join(map(_visible, lines)))


class JsonLine(logging.Formatter):
    """For programs: one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "at": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_about(record),
        }
        if place := _place(record):
            told["place"] = place
        return _masked(json.dumps(told, default=str))


def _record(message: str, *values: Any) -> logging.LogRecord:
    told = {"name": "gateways", "levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord({**told, "msg": message, "args": values})


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _about(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _OWN}


def _place(record: logging.LogRecord) -> list[str]:
    """Where an error came up, innermost last, and its type.

    Its message is not told, nor the value of any variable: they may hold what a request brought.
    """
    if not record.exc_info or record.exc_info[0] is None:
        return []
    kind, _, trace = record.exc_info
    frames = traceback.extract_tb(trace)
    return [*(f"{one.filename}:{one.lineno} {one.name}" for one in frames), kind.__name__]


def _word(value: Any) -> str:
    text = str(value)
    return text if _WORD.fullmatch(text) else json.dumps(text)


def _visible(text: str) -> str:
    """Whatever could move a cursor, colour, hide, or begin another line is spelled out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def _masked(line: str) -> str:
    for secret, instead in _SECRETS:
        line = secret.sub(instead, line)
    return line
