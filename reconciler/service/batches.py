"""Writes that wait together are committed together, and the waiting is done on another thread.

A durable commit costs a millisecond or ten, whatever it holds. While one is under way the writes
that arrive are kept, and the next commit takes all of them; each is answered only after its
commit. What syncs the disk runs on a thread. The statements before run on the loop's own: they take
microseconds, and each of them would wait for the interpreter's lock if it ran beside a busy loop.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from reconciler.service.database import translated

T = TypeVar("T")
Job = Callable[[], Any]


class Batches:
    """Takes turns on one connection, so that a job has it for itself.

    `connection` opens the database, and gives the same connection from then on.
    """

    def __init__(self, path: Path, connection: Callable[[], sqlite3.Connection]) -> None:
        self._path = path
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[Job, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._opened: sqlite3.Connection | None = None
        self._closed = False

    async def run(self, job: Callable[[], T]) -> T:
        """Run a job on the thread that writes nothing, or minds its transactions itself."""
        async with self._turn:
            return await self._on_thread(job)

    async def look(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the database on the loop's own thread; for questions that take microseconds."""
        async with self._turn:
            if self._opened is None:
                self._opened = await self._on_thread(self._connection)
            with translated(self._path):
                return job(self._opened)

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

    async def _commit_waiting(self) -> None:
        while self._waiting:
            async with self._turn:
                batch, self._waiting = self._waiting, []
                try:
                    if self._opened is None:
                        self._opened = await self._on_thread(self._connection)
                    results = await self._carry_out(self._opened, [job for job, _ in batch])
                except BaseException as error:  # noqa: BLE001 - each waiting writer must hear of it
                    results = [error for _ in batch]
            _tell(batch, results)

    async def _carry_out(self, connection: sqlite3.Connection, jobs: list[Job]) -> list[Any]:
        """A result or an error for each job, once the transaction is on disk or undone."""
        try:
            with translated(self._path):
                connection.execute("BEGIN IMMEDIATE")
                results = [_attempt(connection, job) for job in jobs]
            await self._on_thread(lambda: self._commit(connection))
        except BaseException as error:  # noqa: BLE001 - each waiting writer must hear of it
            # some faults (a full disk) have already ended it
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            results = [error for _ in jobs]
        return results

    async def _on_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _commit(self, connection: sqlite3.Connection) -> None:
        with translated(self._path):
            connection.execute("COMMIT")


def _attempt(connection: sqlite3.Connection, job: Job) -> Any:
    """The job's result, or what it raised; a fault of the database ends the whole transaction."""
    connection.execute("SAVEPOINT job")
    try:
        result = job()
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - it is raised again where the job was handed over
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
