"""The streams that are open, so that they end with their visit."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_STREAMS: Final = 6
"""Tabs of one visit that are live at once; with one more, the oldest is told to wait."""


class Over(StrEnum):
    """Why a stream ends."""

    SIGNED_OUT = "signed-out"
    REPLACED = "replaced"


@dataclass(slots=True, eq=False)
class Stream:
    """One tab that is live; `over` says why it ends, once it does."""

    over: Over | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, why: Over) -> None:
        self.over = self.over or why
        self.ended.set()


class Streams:
    def __init__(self) -> None:
        self._of_visit: dict[str, list[Stream]] = {}

    @contextmanager
    def begin(self, visit: str) -> Iterator[Stream]:
        stream = Stream()
        streams = self._of_visit.setdefault(visit, [])
        streams.append(stream)
        for old in streams[:-MAX_STREAMS]:
            old.end(Over.REPLACED)
        try:
            yield stream
        finally:
            streams.remove(stream)
            if not streams:
                self._of_visit.pop(visit, None)

    def end(self, visit: str) -> None:
        """Tell every tab of a visit that it is over."""
        for stream in self._of_visit.get(visit, ()):
            stream.end(Over.SIGNED_OUT)
