"""Whether anything was written since, without looking at what."""

import sqlite3

Version = tuple[int, int]
"""Of the database: the same as long as neither this process nor another has written to it."""


def version_of(connection: sqlite3.Connection) -> Version:
    """The version now: what others committed, and what this connection changed."""
    others: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return others, connection.total_changes
