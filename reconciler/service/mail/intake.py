"""Taking messages in: their bytes are on disk before anything else is done with them.

A message that fits in one piece is stored with the place that it has in its mailbox, in one
transaction with others like it. A longer one goes to the disk piece by piece, and is seen by nobody
before its last piece and that place are stored together.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeVar

from reconciler.clock import stamp
from reconciler.errors import PlatformUnavailable
from reconciler.service.feed import About
from reconciler.service.mail.inbox import PIECE, Arrived, Inbox, Summary
from reconciler.service.mail.prints import print_of
from reconciler.service.mail.progress import Cursor, Progress, mailbox_of
from reconciler.service.mail.summary import HEAD_BYTES, summary_of
from reconciler.service.work import Held

T = TypeVar("T")

TOO_LARGE: Final = "too large: left on the mail server"
NOT_FETCHED: Final = "could not be fetched: left on the mail server"
MAX_STUMBLES: Final = 5
"""How often one message is tried before it is listed without its bytes."""

_PIECES_AT_ONCE: Final = 8
_FORGOTTEN_AT_ONCE: Final = 500


class NoRoom(PlatformUnavailable):
    """The disk has little left: nothing is fetched until there is room again."""


class Intake:
    """What one open session's messages are stored through. Raises PlatformUnavailable."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._service = held.service
        self.settings = held.service.settings.receiving
        self.mailbox = mailbox_of(held.actual.gateway)

    async def look(self, job: Callable[[Progress], T]) -> T:
        name, tenant = self._held.name, self._held.tenant
        return await self._service.look(lambda found: job(Progress(found, tenant, name)))

    async def write(self, job: Callable[[Progress], T]) -> T:
        name, tenant = self._held.name, self._held.tenant
        return await self._service.write(lambda found: job(Progress(found, tenant, name)))

    async def keep(self, arrived: Sequence[Arrived], cursor: Cursor | None = None) -> None:
        """List messages in this order and move the cursor, all of it or nothing."""
        name, tenant = self._held.name, self._held.tenant

        def job(connection: sqlite3.Connection) -> list[int]:
            inbox, progress = Inbox(connection, tenant), Progress(connection, tenant, name)
            now, twice = stamp(self._service.clock()), []
            for one in arrived:
                if progress.remember(self.mailbox, one.identity, one.print, now):
                    inbox.list_(name, one, now)
                elif one.number is not None:
                    twice.append(one.number)
            if cursor:
                progress.move(cursor)
            return twice

        twice = await self._service.write(job)
        if arrived:
            self._service.feed.tell(About.INBOX, tenant, name)
            self._count(arrived)
        for number in twice:
            await self.discard(number)

    async def clear(self) -> None:
        """Remove what an earlier session left unfinished."""
        name, tenant = self._held.name, self._held.tenant
        for number in await self._service.look(lambda found: Inbox(found, tenant).unfinished(name)):
            await self.discard(number)

    async def discard(self, number: int) -> None:
        """Remove a message that was not listed, a few pieces at once."""
        while await self._service.write(lambda found: remove_some(found, number, _PIECES_AT_ONCE)):
            pass

    async def begin(self, data: bytes) -> int:
        name, tenant = self._held.name, self._held.tenant

        def job(connection: sqlite3.Connection) -> int:
            inbox = Inbox(connection, tenant)
            number = inbox.begin(name, stamp(self._service.clock()))
            inbox.add_piece(number, 0, data)
            return number

        return await self._service.write(job)

    async def add(self, number: int, part: int, data: bytes) -> None:
        tenant = self._held.tenant
        await self._service.write(lambda found: Inbox(found, tenant).add_piece(number, part, data))

    def need_room(self, size: int) -> None:
        """Raises NoRoom where a message of this size would leave too little of the disk."""
        found = os.statvfs(self._service.database.parent)
        if found.f_bavail * found.f_frsize < size + self.settings.reserve_bytes:
            raise NoRoom("the disk of the database has little room left", "make room on it")

    async def forget(self, cursor: Cursor) -> Cursor:
        """Forget what tells apart messages that are long gone; the cursor as it is then."""
        before = stamp(self._service.clock() - timedelta(days=self.settings.remember_days))
        while await self.look(lambda known: known.oldest()) < before:
            await self.write(lambda known: known.forget_before(before, _FORGOTTEN_AT_ONCE))
        return replace(cursor, floor=max(cursor.floor, before))

    def incoming(self, *, resync: bool = False) -> "Incoming":
        return Incoming(self, self._held, resync=resync)

    def left_behind(
        self, identity: Callable[[str], str], size: int, defect: str, header: bytes = b""
    ) -> Arrived:
        """A message that stays on the server, as it is listed."""
        summary = summary_of(header, self._held.actual.gateway) if header else Summary()
        told = replace(summary, defects=(defect,))
        mark = print_of(header) if header else ""
        return Arrived(identity(mark), mark, size, told, has_content=False)

    def _count(self, arrived: Sequence[Arrived]) -> None:
        metrics = self._service.metrics
        protocol = self._held.actual.gateway.protocol_type.value
        metrics.received.labels(protocol).inc(len(arrived))
        taken = sum(one.size for one in arrived if one.has_content)
        metrics.message_bytes.labels("in").inc(taken)


class Incoming:
    """One message while it comes in: a piece of it in memory, the rest on disk."""

    def __init__(self, intake: Intake, held: Held, *, resync: bool) -> None:
        self.size = 0
        self._intake = intake
        self._held = held
        self._resync = resync
        self._head = bytearray()
        self._waiting = bytearray()
        self._number: int | None = None
        self._parts = 0

    @property
    def in_memory(self) -> int:
        return len(self._waiting)

    @property
    def head(self) -> bytes:
        return bytes(self._head)

    async def take(self, block: bytes) -> None:
        self.size += len(block)
        self._head += block[: HEAD_BYTES - len(self._head)]
        self._waiting += block
        while len(self._waiting) > PIECE:
            await self._store(PIECE)

    async def finish(self) -> None:
        """Store what is in memory too, where the message did not fit."""
        if self._number is not None and self._waiting:
            await self._store(len(self._waiting))

    async def to_disk(self) -> None:
        """Hold nothing of it in memory but its beginning."""
        if self._waiting:
            await self._store(len(self._waiting))

    async def discard(self) -> None:
        if self._number is not None:
            await self._intake.discard(self._number)

    def arrived(self, identity: Callable[[str], str]) -> Arrived:
        """The message as it is listed; `identity` makes what it is called of its print."""
        head = bytes(self._head)
        mark = print_of(head)
        return Arrived(
            identity(mark),
            mark,
            self.size,
            summary_of(head, self._held.actual.gateway),
            b"" if self._number is not None else bytes(self._waiting),
            self._number,
            resync=self._resync,
        )

    async def _store(self, size: int) -> None:
        data = bytes(self._waiting[:size])
        del self._waiting[:size]
        if self._number is None:
            self._number = await self._intake.begin(data)
        else:
            await self._intake.add(self._number, self._parts, data)
        self._parts += 1


def remove_some(connection: sqlite3.Connection, number: int, most: int) -> bool:
    """Remove some pieces of a message, at last itself; whether there may be more."""
    removed = connection.execute(
        "DELETE FROM inbox_content WHERE message = ? AND part IN "
        "(SELECT part FROM inbox_content WHERE message = ? ORDER BY part LIMIT ?)",
        (number, number, most),
    ).rowcount
    if removed == most:
        return True
    connection.execute("DELETE FROM inbox WHERE number = ?", (number,))
    return False
