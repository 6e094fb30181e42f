"""Open the database file. This is the one module that knows it is SQLite.

What it refuses, it leaves as it was: nothing is ever removed or repaired by itself.
"""

import os
import sqlite3
import stat
from pathlib import Path
from typing import Final
from urllib.parse import quote

from reconciler.errors import PlatformUnavailable
from reconciler.service.faults import Unsound, translated
from reconciler.service.upgrade import APPLICATION_ID, VERSION, number, upgrade

BUSY_SECONDS: Final = 5.0


def journal_mode(version: tuple[int, ...]) -> str:
    """WAL where it is sound, else DELETE.

    From 3.7.0 to 3.51.2 two connections that write and checkpoint at the same moment can lose
    committed transactions (https://sqlite.org/wal.html#the_wal_reset_bug); 3.44.6 and 3.50.7
    have the mend too.
    """
    mended = version >= (3, 51, 3) or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in ((3, 44, 6), (3, 50, 7))
    )
    return "WAL" if mended else "DELETE"


def open_writable(
    path: Path, *, journal: str | None = None, check: bool = False
) -> sqlite3.Connection:
    """Open the database for writing; make it, and the folders above it, where they are absent.

    With `check` the whole of it is read first, and a damaged one is refused and left as it is.
    """
    make_folder(path)
    has_content(path)
    with translated(path):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = _connect(path, "rw")
    try:
        with translated(path):
            _identify(connection, path)
            if check:
                _check(connection, path)
            mode = journal or journal_mode(sqlite3.sqlite_version_info)
            connection.execute(f"PRAGMA journal_mode = {mode}")
            _write_safely(connection)
            upgrade(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_beside(path: Path) -> sqlite3.Connection | None:
    """Open the database for writing as it is, also while a service runs on it.

    None where there is none, or one of an earlier version: nothing is made, nothing is upgraded.
    """
    if not has_content(path):
        return None
    with translated(path):
        connection = _connect(path, "rw")
    try:
        with translated(path):
            if _identify(connection, path) < VERSION:
                connection.close()
                return None
            _write_safely(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_safely(connection: sqlite3.Connection) -> None:
    # EXTRA also syncs the folder once the journal is gone: without that, a power cut can bring
    # the journal back and undo the last commit
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("PRAGMA secure_delete = ON")


def make_folder(path: Path) -> None:
    """Make the folders above a database that are absent, for this user alone."""
    with translated(path):
        for folder in reversed([one for one in path.parents if not one.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)


def has_content(path: Path) -> bool:
    """Whether there is a database; an empty file is none yet, unless it once held passwords.

    Raises:
        PlatformUnavailable: it is no file, or was emptied: taken for absent, every gateway would be
            made anew.

    """
    with translated(path):
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
    if not stat.S_ISREG(found.st_mode):
        raise PlatformUnavailable(f"{path} is not a file", "name another database")
    key = path.with_name(f"{path.name}.key")
    if found.st_size == 0 and key.exists():
        raise PlatformUnavailable(
            f"{path} is empty, although passwords were once stored in it",
            f"restore it from a backup; or, to begin anew, remove {key.name} beside it too",
        )
    return found.st_size > 0


def open_readable(path: Path) -> sqlite3.Connection | None:
    """Open the database so that nothing can be written through it; None where there is none.

    A database of an earlier version is read from a migrated copy in memory.
    """
    if not has_content(path):
        return None
    with translated(path):
        # where it may be written, a transaction that was cut short can be rolled back first
        may_write = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        connection = _connect(path, "rw" if may_write else "ro")
    try:
        with translated(path):
            version = _identify(connection, path)
            if version < VERSION:
                connection = _in_memory(connection)
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # every transaction is begun and ended by name, so that one look at the code shows which
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path.resolve()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_SECONDS,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _identify(connection: sqlite3.Connection, path: Path) -> int:
    """The database's version; 0 for one that is still empty."""
    application, version, tables = _identity(connection)
    if application != APPLICATION_ID and (application or version or tables):
        raise PlatformUnavailable(
            f"database {path}: it belongs to another program",
            "name another file as `database` of the target; nothing was changed in this one",
        )
    if version > VERSION:
        raise PlatformUnavailable(
            f"database {path}: a newer version of this program made it "
            f"(version {version}; this program knows {VERSION})",
            "update this program; nothing was changed in the database",
        )
    return version


def _check(connection: sqlite3.Connection, path: Path) -> None:
    whole = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    # what is missing of the last page SQLite takes for zeros
    if not whole or path.stat().st_size % number(connection, "PRAGMA page_size"):
        raise Unsound(
            f"database {path}: it is damaged", "nothing was changed in it; restore a backup"
        )


def _identity(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Whose it is, its version, how many tables: at one moment, for others may be making it now."""
    connection.execute("BEGIN")
    try:
        return (
            number(connection, "PRAGMA application_id"),
            number(connection, "PRAGMA user_version"),
            number(connection, "SELECT count(*) FROM sqlite_master"),
        )
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def empty_log(connection: sqlite3.Connection) -> None:
    """Take out of the write-ahead log what was erased from the database, as far as readers let."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _in_memory(connection: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.backup(copy)
    connection.close()
    upgrade(copy, None)
    return copy
