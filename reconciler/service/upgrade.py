"""A database of an earlier version becomes one of this version, whole or not at all."""

import logging
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

MIGRATIONS: Final = Path(__file__).parent / "migrations"
VERSION: Final = 5
"""The number of the last migration; a test holds the two together."""

APPLICATION_ID: Final = 0x47415445
"""Tells our databases from other programs' (PRAGMA application_id)."""

logger = logging.getLogger("gateways.database")


def upgrade(connection: sqlite3.Connection, path: Path | None) -> None:
    """Carry out the missing migrations, each in a transaction of its own.

    A database that holds gateways is first copied to a file beside it, whose name says which
    version it is of; `path` is None where there is no file to keep.
    """
    version = number(connection, "PRAGMA user_version")
    if version == VERSION:
        return
    if path and version and number(connection, "SELECT count(*) FROM gateways"):
        _keep(connection, path, version)
    for following, script in sorted(
        (int(file.name.partition("_")[0]), file) for file in MIGRATIONS.glob("*.sql")
    ):
        with transaction(connection):
            # read again inside the transaction: another process may have come first
            if number(connection, "PRAGMA user_version") >= following:
                continue
            for statement in _statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {following}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. It asks for the right to write first, so that it cannot fail for it later."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # some faults (a full disk) have already ended it
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def number(connection: sqlite3.Connection, statement: str) -> int:
    return int(connection.execute(statement).fetchone()[0])


def _keep(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy the database as it is; the copy has its name only once it is whole and on disk."""
    kept = path.with_name(f"{path.name}.version-{version}")
    partial = path.with_name(f"{kept.name}.{secrets.token_hex(4)}")
    handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            connection.backup(copy)
        os.fsync(handle)
        partial.replace(kept)
        _sync_folder(kept.parent)
    finally:
        os.close(handle)
        partial.unlink(missing_ok=True)
    logger.info(
        "the database is of version %d, this program's of %d: as it was, it is kept in %s",
        version,
        VERSION,
        kept,
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
