"""What a service says while it runs goes to standard error."""

import asyncio
import logging
import sys
import threading
from types import TracebackType
from typing import Any

from reconciler.cli.streams import note
from reconciler.service.observe.logs import Lines


def log_to_stderr(*, as_json: bool, verbose: bool, quiet: bool = False) -> None:
    """Send what loggers say to standard error; what is not ours only from warnings on.

    Of an error its type and its place are told and never its message: that may hold what a request
    brought, or a value that was being worked on.
    """
    lines = Lines(note, as_json=as_json)
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    logging.getLogger("gateways").setLevel(level)
    threading.excepthook = lambda given: _unhandled(given.exc_type, given.exc_traceback)
    sys.unraisablehook = lambda given: _unhandled(given.exc_type, given.exc_traceback)


def log_forgotten(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For faults that nobody waits for: the handler of an event loop."""
    logging.getLogger("gateways").error(context["message"], exc_info=context.get("exception"))


def _unhandled(kind: type[BaseException], trace: TracebackType | None) -> None:
    logging.getLogger("gateways").error("unhandled", exc_info=(kind, BaseException(), trace))
