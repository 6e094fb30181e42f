"""Ctrl-C: the first time finish what is under way, the second time stop now."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signals(stop: asyncio.Event, say: Callable[[str], None]) -> Iterator[None]:
    """While inside, SIGINT and SIGTERM set `stop`; repeated, they end the program as usual."""
    loop = asyncio.get_running_loop()
    handled = (signal.SIGINT, signal.SIGTERM)

    def leave() -> None:
        for one in handled:
            loop.remove_signal_handler(one)

    def interrupted() -> None:
        leave()  # the next one is not ours
        say("interrupted: changes under way are finished, no further one is started")
        stop.set()

    for one in handled:
        loop.add_signal_handler(one, interrupted)
    try:
        yield
    finally:
        leave()
