"""What a service says while it runs: a line for each event, as text or as JSON."""

import asyncio
import json
import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any, Final

from reconciler.cli.streams import note
from reconciler.clock import now, stamp
from reconciler.report.safe import line

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What every record has; all else was given by `extra`, and says what the event is about."""


def log_to_stderr(*, as_json: bool, verbose: bool) -> None:
    """Send what loggers say to standard error; what is not ours only from warnings on.

    Of an error its type and its place are told and never its message: that may hold what a request
    brought, or a value that was being worked on.
    """
    handler = _Lines()
    handler.setFormatter(_Json() if as_json else _Text())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gateways").setLevel(logging.DEBUG if verbose else logging.INFO)
    threading.excepthook = lambda given: _unhandled(given.exc_type, given.exc_traceback)
    sys.unraisablehook = lambda given: _unhandled(given.exc_type, given.exc_traceback)


def log_forgotten(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For faults that nobody waits for: the handler of an event loop."""
    logging.getLogger("gateways").error(context["message"], exc_info=context.get("exception"))


def _unhandled(kind: type[BaseException], trace: TracebackType | None) -> None:
    logging.getLogger("gateways").error("unhandled", exc_info=(kind, BaseException(), trace))


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


class _Text(logging.Formatter):
    """The moment, the message, and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        about = "".join(f" {key}={value}" for key, value in _about(record).items())
        lines = [f"{stamp(now())} {level}{record.getMessage()}{about}", *_place(record)]
        return "\n  ".join(map(line, lines))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = {
            "at": stamp(now()),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_about(record),
        }
        place = _place(record)
        return json.dumps({**told, "place": place} if place else told, default=str)


def _about(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _OWN}


def _place(record: logging.LogRecord) -> list[str]:
    """Where an error came up, innermost last; neither its message nor a value of a variable."""
    if not record.exc_info or record.exc_info[0] is None:
        return []
    kind, _, trace = record.exc_info
    frames = traceback.extract_tb(trace)
    return [*(f"{one.filename}:{one.lineno} {one.name}" for one in frames), kind.__name__]
