"""The gateway service's ground: one database, held alone, and everything that works on it.

The HTTP API, the supervisor and the mail queues each get this one value. It starts nothing by
itself; `cli/serve.py` puts the parts together.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from reconciler.clock import Clock, now
from reconciler.errors import GatewaysError, PlatformUnavailable
from reconciler.service.batches import Batches
from reconciler.service.database import make_folder, open_writable, translated
from reconciler.service.feed import Feed
from reconciler.service.lock import hold_alone
from reconciler.service.sessions import SessionSettings
from reconciler.service.store import Store
from reconciler.service.vault import Vault

T = TypeVar("T")

OWNER: Final = "supervisor"
_FATAL: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How a service behaves; `sessions` decides which hosts its gateways may be on."""

    sessions: SessionSettings = field(default_factory=lambda: SessionSettings(private_hosts=False))


class Service:
    """One database for as long as its `async with` lasts.

    `epoch` is the fencing number of this process: every write that a session causes carries it, and
    an earlier owner's is refused. `fatal` is set once when the disk has failed under a write: what
    was said to be stored may not be, so the process must end and look again.

    Raises, on entering:
        Locked: another service or a command works on the database.
        PlatformUnavailable: the database cannot be opened, or is damaged.

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
        self.epoch = 0
        self.fatal = asyncio.Event()
        self._batches = Batches(database, self._connection)
        self._opened: sqlite3.Connection | None = None
        self._let_go: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        make_folder(self.database)
        with translated(self.database):
            self._let_go = hold_alone(self.database)
        try:
            await self._batches.run(self._check)
            self.epoch = await self.write(_take_epoch)
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
        return await self._batches.look(job)

    async def ask(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the database on a thread of its own; for questions about thousands of rows."""
        return await self._batches.run(lambda: self._asked(job))

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in a transaction, and return once that is on disk.

        A job that raises is undone alone. Tell the feed after this, never inside the job.
        """
        try:
            return await self._batches.write(lambda: job(self._connection()))
        except PlatformUnavailable as error:
            if _is_fatal(error):
                self.fatal.set()
            raise

    def sealed(self, connection: sqlite3.Connection) -> str:
        """Why no password can be opened now, or nothing: without its key a service only shows."""
        try:
            self.vault.unlock(Store(connection, "").key_check())
        except GatewaysError as error:
            return error.message
        return ""

    # From here on: only ever in a job of the batches.

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = open_writable(self.database)
        return self._opened

    def _asked(self, job: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self.database):
            return job(self._connection())

    def _check(self) -> None:
        """A damaged database is refused before it is served: it is never mended by itself."""
        with translated(self.database):
            found = self._connection().execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise PlatformUnavailable(
                f"database {self.database}: it is damaged",
                "nothing was changed; restore a backup",
            )

    def _close(self) -> None:
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
    found = connection.execute("SELECT epoch FROM epochs WHERE name = ?", (OWNER,)).fetchone()
    return int(found[0])


def _is_fatal(error: PlatformUnavailable) -> bool:
    code = getattr(error.__cause__, "sqlite_errorcode", 0)
    return code & 0xFF in _FATAL
