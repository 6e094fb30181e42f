"""Ctrl-C: first what is under way is finished; then it is left; at last the process ends."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from reconciler.errors import ExitCode

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals(
    stop: asyncio.Event, give_up: Callable[[], None], say: Callable[[str], None]
) -> Iterator[None]:
    """While inside, SIGINT and SIGTERM set `stop`; the second calls `give_up`.

    Any further one, and any after the first once outside, ends the process with 130.
    """
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if stop.is_set():
            for one in _SIGNALS:
                loop.add_signal_handler(one, _end, say)
            say("stopping now: changes under way are left; gateways plan says what remains")
            give_up()
        else:
            say("interrupted: changes under way are finished, no further one is started")
            stop.set()

    for one in _SIGNALS:
        loop.add_signal_handler(one, interrupted)
    try:
        yield
    finally:
        for one in _SIGNALS:
            loop.remove_signal_handler(one)
            if stop.is_set():  # little is left to do, and none of it is worth a traceback
                signal.signal(one, lambda *_: _end(say))


def _end(say: Callable[[str], None]) -> None:
    """Leave everything as it is: what was written is on disk, whoever wrote it."""
    say("stopped at once: the lock is free again once its lease has ended")
    os._exit(ExitCode.INTERRUPTED)
