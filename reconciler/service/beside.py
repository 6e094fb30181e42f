"""Work on a service's database from a process beside it, also while the service runs."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.service.database import make_folder, open_beside, open_writable
from reconciler.service.faults import translated
from reconciler.service.lock import share
from reconciler.service.upgrade import transaction


@contextmanager
def beside(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that is on disk once the `with` has ended, or undone if it raises.

    The database is made, or upgraded, only where no service runs on it.

    Raises:
        Locked: a service runs on a database of an earlier version.
        Busy: something else has kept it locked for a while.
        PlatformUnavailable: it cannot be opened or written.

    """
    connection, let_go = _open(path)
    try:
        with translated(path), transaction(connection):
            yield connection
    finally:
        connection.close()
        let_go()


def _open(path: Path) -> tuple[sqlite3.Connection, Callable[[], None]]:
    connection = open_beside(path)
    if connection:
        return connection, lambda: None
    make_folder(path)
    with translated(path):
        let_go = share(path, create=True)
    try:
        return open_writable(path), let_go
    except BaseException:
        let_go()
        raise
