"""The gateway service's ground: one database, held alone, and everything that works on it.

The HTTP API, the supervisor and the mail queues each get this one value. It starts nothing by
itself; `cli/serve.py` puts the parts together.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from reconciler.clock import Clock, now
from reconciler.errors import Sealed
from reconciler.service.batches import Batches
from reconciler.service.database import make_folder, open_writable
from reconciler.service.faults import Unsound, translated
from reconciler.service.feed import Feed
from reconciler.service.lock import hold_alone
from reconciler.service.mail.handovers import Handovers
from reconciler.service.mail.receiving_settings import ReceivingSettings
from reconciler.service.mail.settings import OutboxSettings
from reconciler.service.observe.metrics import Metrics
from reconciler.service.sessions import SessionSettings
from reconciler.service.store import Store
from reconciler.service.vault import Vault

T = TypeVar("T")

OWNER: Final = "supervisor"


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How a service behaves; `sessions` decides which hosts its gateways may be on."""

    sessions: SessionSettings = field(default_factory=lambda: SessionSettings(private_hosts=False))
    outbox: OutboxSettings = field(default_factory=OutboxSettings)
    receiving: ReceivingSettings = field(default_factory=ReceivingSettings)


class Service:
    """One database for as long as its `async with` lasts.

    `epoch` is the fencing number of this process: it is looked at before each write, so that one
    that was taken for dead, or whose database was replaced under it, stores nothing any more.
    `fatal` is set once when the disk has failed, or another has taken over: what was said to be
    stored may not be, so the process must end and look again.

    Raises, on entering:
        Locked: another service or a command works on the database.
        Unsound: the database is damaged; it is never mended by itself.
        PlatformUnavailable: it cannot be opened.

    """

    def __init__(
        self,
        database: Path,
        settings: ServiceSettings | None = None,
        *,
        clock: Clock = now,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.database = database
        self.settings = settings or ServiceSettings()
        self.clock = clock
        self.vault = Vault(database, environment)
        self.feed = Feed()
        self.metrics = Metrics()
        self.handovers = Handovers(database)
        self.epoch = 0
        self.fatal = asyncio.Event()
        self._batches = Batches(database, self._connection, self.metrics.commits.observe)
        self._opened: sqlite3.Connection | None = None
        self._let_go: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        make_folder(self.database)
        with translated(self.database):
            self._let_go = hold_alone(self.database)
        try:
            self.epoch = await self._batches.write(lambda: _take_epoch(self._connection()))
        except BaseException:
            await self._batches.close(self._close)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._batches.close(self._close)

    async def look(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the database; for questions that take microseconds, for all else waits for it."""
        with self._watched():
            return await self._batches.look(job)

    async def ask(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the database on a thread of its own; for questions about thousands of rows."""
        with self._watched():
            return await self._batches.run(lambda: self._asked(job))

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in a transaction, and return once that is on disk.

        A job that raises is undone alone. Tell the feed after this, never inside the job.
        """
        with self._watched():
            return await self._batches.write(lambda: job(self._fenced()))

    @property
    def busy_for(self) -> float:
        """Seconds for which the database has been at what it does now; 0 where it does nothing."""
        return self._batches.busy_for

    def sealed(self, connection: sqlite3.Connection) -> str:
        """Why no password can be opened now, or nothing: without its key a service only shows."""
        try:
            self.vault.unlock(Store(connection, "").key_check())
        except Sealed as error:
            return error.message
        return ""

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except Unsound:
            self.fatal.set()
            raise

    # From here on: only ever in a job of the batches.

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = open_writable(self.database, check=True)
        return self._opened

    def _fenced(self) -> sqlite3.Connection:
        connection = self._connection()
        if _epoch(connection) != self.epoch:
            raise Unsound(
                f"database {self.database}: another service has taken it over, or it was replaced",
                "nothing more is written here; stop the other one, then start this one again",
            )
        return connection

    def _asked(self, job: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self.database):
            return job(self._connection())

    def _close(self) -> None:
        self.handovers.close()
        if self._opened:
            self._opened.close()
        if self._let_go:
            self._let_go()
        self._opened = self._let_go = None


def _take_epoch(connection: sqlite3.Connection) -> int:
    connection.execute(
        "INSERT INTO epochs VALUES (?, 1) "
        "ON CONFLICT (name) DO UPDATE SET epoch = epochs.epoch + 1",
        (OWNER,),
    )
    return _epoch(connection)


def _epoch(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT epoch FROM epochs WHERE name = ?", (OWNER,)).fetchone()
    return int(found[0]) if found else 0
