"""What SQLite and the file system say of the database, as what a user can act on."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.errors import PlatformUnavailable


class Busy(PlatformUnavailable):
    """Another program keeps the database locked; nothing was done."""


class Unsound(PlatformUnavailable):
    """What is on the disk may not be what was written: no write may follow."""


@dataclass(frozen=True, slots=True)
class _Fault:
    message: str
    hint: str
    kind: type[PlatformUnavailable] = PlatformUnavailable


_DAMAGED: Final = _Fault(
    "it is damaged, or not a database of gateways",
    "nothing was changed; restore a backup, or move the file away and apply anew",
    Unsound,
)
_LOCKED: Final = _Fault(
    "another program keeps it locked",
    "wait until that program has finished, then run the command again",
    Busy,
)
_CLOSED: Final = _Fault(
    "it cannot be opened", "give this user permission for the file and its folder"
)
_FAULTS: Final[Mapping[int, _Fault]] = {
    sqlite3.SQLITE_FULL: _Fault(
        "no space left", "make room on the disk, then run the command again"
    ),
    sqlite3.SQLITE_READONLY: _Fault(
        "it cannot be written", "give this user write permission for the file and its folder"
    ),
    sqlite3.SQLITE_IOERR: _Fault(
        "the disk reports an error",
        "look at the disk and its limits, then run the command again",
        Unsound,
    ),
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: _CLOSED,
    sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_AUTH: _CLOSED,
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into what a user can act on.

    Raises:
        Busy: another program keeps the database locked.
        Unsound: the disk failed, or what it holds is damaged.
        PlatformUnavailable: for every other fault of the file; a mistake in our SQL passes through.

    """
    try:
        yield
    except sqlite3.Error as error:
        fault = _fault_of(error)
        if fault is None:
            raise
        raise fault.kind(f"database {path}: {fault.message}", fault.hint) from error
    except OSError as error:
        raise PlatformUnavailable(
            f"{error.filename or path}: {error.strerror}",
            "the database needs a folder that this user can write",
        ) from error


def is_of_the_file(error: sqlite3.Error) -> bool:
    """Whether the database is at fault, and not the statement."""
    return _fault_of(error) is not None


def _fault_of(error: sqlite3.Error) -> _Fault | None:
    # the low byte is the fault, the rest says where in SQLite it came up
    return _FAULTS.get(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF)
