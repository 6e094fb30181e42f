"""Writes that wait together are committed together, and the waiting is done on another thread.

A durable commit costs a millisecond or ten, whatever it holds. While one is under way the writes
that arrive are kept, and the next commit takes all of them; each is answered only after its
commit. What syncs the disk runs on a thread. The statements before run on the loop's own: they take
microseconds, and each of them would wait for the interpreter's lock if it ran beside a busy loop.

Where another program keeps the database locked it is asked for again and again, so that the loop
never stands still; between two tries others have their turn.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from reconciler.service.database import BUSY_SECONDS
from reconciler.service.faults import Busy, Unsound, is_of_the_file, translated

T = TypeVar("T")
Job = Callable[[], Any]

_PAUSE_SECONDS: Final = 0.02
_AT_ONCE: Final = 256
"""Jobs of one transaction: as long as they run, the loop does nothing else."""


class Batches:
    """Takes turns on one connection, so that a job has it for itself.

    `connection` opens the database, and gives the same connection from then on. `committed` hears
    how many seconds each transaction took to be on disk. After the disk has
    failed under a write no other is tried: what the next one would sync need not be what is there.
    """

    def __init__(
        self,
        path: Path,
        connection: Callable[[], sqlite3.Connection],
        committed: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._connection = connection
        self._committed = committed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[Job, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._opened: sqlite3.Connection | None = None
        self._failed: Unsound | None = None
        self._began: float | None = None
        self._closed = False

    @property
    def busy_for(self) -> float:
        """Seconds for which the thread has been at its job; 0 where it has none."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    async def run(self, job: Callable[[], T]) -> T:
        """Run a job on the thread that writes nothing, or minds its transactions itself.

        It may be run more than once, if the database is locked at first.
        """
        return await self._patiently(lambda: self._on_thread(job))

    async def look(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the database on the loop's own thread; for questions that take microseconds."""
        if self._opened and not self._turn.locked():
            # nearly always: then nothing is waited for, and nobody else can come in between
            with suppress(Busy), translated(self._path):
                return job(self._opened)

        async def attempt() -> T:
            connection = await self._ready()
            with translated(self._path):
                return job(connection)

        return await self._patiently(attempt)

    async def write(self, job: Callable[[], T]) -> T:
        """Run a job inside a transaction, and return once that is on disk.

        A job that raises is undone alone; the others of its transaction stand. A job that was
        handed over is carried out even if whoever waits for it is cancelled.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, answer))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_waiting())
        return await answer

    async def close(self, last: Job) -> None:
        """Finish what waits, run the last job, and end the thread; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._committing:
            await asyncio.wait([self._committing])
        await self.run(last)
        self._thread.shutdown()

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try, each time in turn, until the database is not locked. Raises Busy after a while."""
        loop = asyncio.get_running_loop()
        end = loop.time() + BUSY_SECONDS
        while True:
            try:
                async with self._turn:
                    return await attempt()
            except Busy:
                if loop.time() >= end:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _ready(self) -> sqlite3.Connection:
        """The connection; it never waits for a lock by itself, since that would stop the loop."""
        if self._opened is None:
            opened = await self._on_thread(self._connection)
            opened.execute("PRAGMA busy_timeout = 0")
            self._opened = opened
        return self._opened

    async def _commit_waiting(self) -> None:
        while self._waiting:
            try:
                await self._patiently(self._commit)
            except BaseException as error:  # noqa: BLE001 - each waiting writer must hear of it
                batch, self._waiting = self._waiting, []
                _tell(batch, [error for _ in batch])

    async def _commit(self) -> None:
        """One transaction of what waits.

        It is begun before any of it is taken, and as the only one: whatever has to be waited for is
        waited for here, and not in the middle.
        """
        if self._failed:
            raise self._failed
        connection = await self._ready()
        with translated(self._path):
            connection.execute("BEGIN EXCLUSIVE")
        batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
        _tell(batch, await self._carry_out(connection, [job for job, _ in batch]))

    async def _carry_out(self, connection: sqlite3.Connection, jobs: list[Job]) -> list[Any]:
        """A result or an error for each job, once the transaction is on disk or undone."""
        try:
            with translated(self._path):
                results = [_attempt(connection, job) for job in jobs]
            began = time.perf_counter()
            await self._on_thread(lambda: self._end(connection, "COMMIT"))
            self._committed(time.perf_counter() - began)
        except BaseException as error:  # noqa: BLE001 - each waiting writer must hear of it
            results = [error for _ in jobs]
            self._note(error)
            try:
                await self._on_thread(lambda: self._undo(connection))
            except BaseException as worse:  # noqa: BLE001 - they hear of what came first
                self._note(worse)
        return results

    def _note(self, error: BaseException) -> None:
        if isinstance(error, Unsound):
            self._failed = error

    async def _on_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, job)

    def _timed(self, job: Callable[[], T]) -> T:
        """Run on the thread: a job goes on even if whoever waits for it is cancelled."""
        self._began = time.monotonic()
        try:
            return job()
        finally:
            self._began = None

    def _end(self, connection: sqlite3.Connection, how: str) -> None:
        with translated(self._path):
            connection.execute(how)

    def _undo(self, connection: sqlite3.Connection) -> None:
        # some faults (a full disk) have already ended it
        if connection.in_transaction:
            self._end(connection, "ROLLBACK")


def _attempt(connection: sqlite3.Connection, job: Job) -> Any:
    """The job's result, or what it raised; a fault of the database ends the whole transaction."""
    connection.execute("SAVEPOINT job")
    try:
        result = job()
    except Exception as error:
        if isinstance(error, sqlite3.Error) and is_of_the_file(error):
            raise
        connection.execute("ROLLBACK TO job")
        result = error
    connection.execute("RELEASE job")
    return result


def _tell(batch: Sequence[tuple[Job, asyncio.Future[Any]]], results: Sequence[Any]) -> None:
    for (_, answer), result in zip(batch, results, strict=True):
        if answer.cancelled():
            continue
        if isinstance(result, BaseException):
            answer.set_exception(result)
        else:
            answer.set_result(result)
