"""Reading what a message says, without trusting it: a process of its own does the work.

A message that ends that process, or takes too long, has used up one of three attempts. Each is
counted on disk before it is made, for it may end this process too.
"""

import asyncio
import json
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from reconciler.messages import AttachedPart, MessageView
from reconciler.service.mail.inbox import CANNOT_BE_READ, MAX_READINGS, PIECE, Inbox, Kept
from reconciler.service.mail.parsing import MAX_SECONDS, MAX_TEXT
from reconciler.service.service import Service

READ_BYTES: Final = 16 * 1024 * 1024
"""How much of a message is read; what comes later can be had as it is."""

ONLY_THE_BEGINNING: Final = f"only the first {READ_BYTES // 1024 // 1024} MiB were read"
NO_CONTENT: Final = "left on the mail server"

_PATIENCE: Final = MAX_SECONDS + 5.0
_MAX_ANSWER: Final = 12 * MAX_TEXT + 1024 * 1024
_ROOT: Final = Path(__file__).parents[3]

COMMAND: Final = (sys.executable, "-P", "-m", "reconciler.service.mail.parsing")


class Unreadable(Exception):
    """The process ended, or had to be ended, over a message."""


class Reader:
    """One process that reads, started when it is first needed and again when it has ended."""

    def __init__(self, command: Sequence[str] = COMMAND, seconds: float = _PATIENCE) -> None:
        self._command = command
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._process: Process | None = None

    async def read(self, pieces: AsyncIterator[bytes], size: int, charset: str) -> MessageView:
        """What a message of `size` bytes says.

        Raises:
            Unreadable: it cannot be told.

        """
        async with self._turn:
            try:
                async with asyncio.timeout(self._seconds):
                    process = self._process = self._process or await self._start()
                    return _view(await _asked(process, pieces, size, charset))
            except (OSError, EOFError, ValueError, TimeoutError):
                await self._end()
                raise Unreadable from None
            except BaseException:
                await self._end()  # it would answer the next one with what was asked before
                raise

    async def close(self) -> None:
        async with self._turn:
            await self._end()

    async def _start(self) -> Process:
        environment = {"PYTHONPATH": str(_ROOT), "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        return await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, env=environment, cwd="/", limit=_MAX_ANSWER
        )

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        assert process.stdin  # noqa: S101 - both are pipes
        assert process.stdout  # noqa: S101
        process.stdin.close()
        while await process.stdout.read(PIECE):
            pass  # a pipe is closed once its end was read
        await process.wait()
        with suppress(OSError):
            await process.stdin.wait_closed()


class Readers:
    """A few processes that read; one tenant has one of them at a time, so that none has all."""

    def __init__(self, readers: Sequence[Reader] | None = None) -> None:
        self._readers = tuple(readers or (Reader(), Reader()))
        self._free = list(self._readers)
        self._places = asyncio.Semaphore(len(self._readers))
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def one(self, tenant: str) -> AsyncIterator[Reader]:
        """A reader, once it is this tenant's turn. Raises TimeoutError after a while."""
        turn = self._turns.setdefault(tenant, asyncio.Lock())
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(_PATIENCE):
                await stack.enter_async_context(turn)
                await stack.enter_async_context(self._places)
            reader = self._free.pop()
            try:
                yield reader
            finally:
                self._free.append(reader)

    async def close(self) -> None:
        for reader in self._readers:
            await reader.close()


@dataclass(frozen=True, slots=True)
class Archive:
    """One tenant's received messages, as they are read by whoever may."""

    service: Service
    tenant: str

    async def view(self, readers: Readers, kept: Kept, charset: str) -> MessageView:
        """What a listed message says, with a defect where that cannot be told.

        Raises:
            PlatformUnavailable: the database cannot be read or written.
            TimeoutError: too many others are read.

        """
        if not kept.has_content:
            return MessageView(defects=(NO_CONTENT,))
        if kept.readings >= MAX_READINGS:
            return MessageView(defects=(CANNOT_BE_READ,))
        async with readers.one(self.tenant) as reader:
            view = await self._attempt(reader, kept, charset)
        if kept.message.size > READ_BYTES:
            view = replace(view, defects=(*view.defects, ONLY_THE_BEGINNING))
        return view

    async def content(self, kept: Kept, most: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a message, `most` at most, piece by piece.

        Raises:
            EOFError: it was dropped meanwhile.

        """
        left = kept.message.size if most is None else min(most, kept.message.size)
        part = 0
        while left > 0:
            piece = await self.service.look(partial(self._piece, number=kept.number, part=part))
            if not piece:
                raise EOFError
            yield piece[:left]
            part, left = part + 1, left - len(piece)

    async def _attempt(self, reader: Reader, kept: Kept, charset: str) -> MessageView:
        """Count an attempt, and no more once one has succeeded."""
        if kept.was_read:
            return await self._read(reader, kept, charset)
        await self._write(Inbox.count_reading, kept)
        try:
            view = await self._read(reader, kept, charset)
        except asyncio.CancelledError:
            await self._write(Inbox.discount_reading, kept)
            raise
        if CANNOT_BE_READ not in view.defects:
            await self._write(Inbox.read_well, kept)
        elif kept.readings + 1 >= MAX_READINGS:
            await self._write(Inbox.give_up, kept)
        return view

    async def _read(self, reader: Reader, kept: Kept, charset: str) -> MessageView:
        size = min(kept.message.size, READ_BYTES)
        try:
            return await reader.read(self.content(kept, size), size, charset)
        except Unreadable:
            return MessageView(defects=(CANNOT_BE_READ,))

    async def _write(self, change: Callable[[Inbox, int], None], kept: Kept) -> None:
        await self.service.write(lambda found: change(Inbox(found, self.tenant), kept.number))

    def _piece(self, connection: sqlite3.Connection, number: int, part: int) -> bytes | None:
        return Inbox(connection, self.tenant).piece(number, part)


async def _asked(
    process: Process, pieces: AsyncIterator[bytes], size: int, charset: str
) -> dict[str, Any]:
    assert process.stdin  # noqa: S101 - both are pipes
    assert process.stdout  # noqa: S101
    process.stdin.write(json.dumps({"size": size, "charset": charset}).encode() + b"\n")
    async for piece in pieces:
        process.stdin.write(piece)
        await process.stdin.drain()
    await process.stdin.drain()
    answer = await process.stdout.readline()
    if not answer.endswith(b"\n"):
        raise EOFError
    data: dict[str, Any] = json.loads(answer)
    return data


def _view(data: dict[str, Any]) -> MessageView:
    return MessageView(
        tuple((name, value) for name, value in data["headers"]),
        data["text"],
        data["html"],
        tuple(
            AttachedPart(one["name"], one["content_type"], one["size"])
            for one in data["attachments"]
        ),
        tuple(data["defects"]),
    )
