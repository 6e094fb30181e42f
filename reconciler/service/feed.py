"""Who is told of what has changed: whoever keeps sessions, shows a page, or waits for a status.

What is told is only where to look. A listener that is slow misses nothing and holds nobody up: the
same change, told twice before it was taken, is told once.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum


class About(Enum):
    """What has changed: the gateway by a write, its status, its outgoing or its incoming mail.

    Or a webhook of the tenant, of whichever gateway.
    """

    GATEWAY = "gateway"
    STATUS = "status"
    OUTBOX = "outbox"
    INBOX = "inbox"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Changed:
    about: About
    tenant: str
    gateway: str


class Listener:
    """The changes that one listener has not taken yet, oldest first, each once."""

    def __init__(self, about: frozenset[About]) -> None:
        self._about = about
        self._waiting: dict[Changed, None] = {}
        self._some = asyncio.Event()

    def tell(self, changed: Changed) -> None:
        if changed.about in self._about:
            self._waiting[changed] = None
            self._some.set()

    async def next(self) -> Changed:
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        changed = next(iter(self._waiting))
        del self._waiting[changed]
        return changed

    def rest(self) -> tuple[Changed, ...]:
        """Take all that waits now."""
        waiting = tuple(self._waiting)
        self._waiting.clear()
        return waiting


class Feed:
    """Tells every listener; only ever used on the event loop."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def tell(self, about: About, tenant: str, gateway: str) -> None:
        """Say that something has changed; call it after the commit, never before."""
        changed = Changed(about, tenant, gateway)
        for listener in self._listeners:
            listener.tell(changed)

    @contextmanager
    def listen(self, *about: About) -> Iterator[Listener]:
        listener = Listener(frozenset(about))
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
