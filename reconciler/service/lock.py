"""Two locks, of two kinds.

The lease is a row: whoever applies to a tenant holds it, and it ends by itself if the holder dies.
The process lock is a file beside the database: commands share it, a service holds it alone.
"""

import fcntl
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from reconciler.clock import Clock, exact
from reconciler.errors import Locked
from reconciler.model import Actor
from reconciler.service.store import Lease, Store

APPLY: Final = "apply"


@dataclass(frozen=True, slots=True)
class Leases:
    """The lock of a tenant. Every method needs a transaction of the caller's."""

    store: Store
    clock: Clock
    seconds: float = 30.0

    def take(self, actor: Actor) -> Lease:
        """Take the lock if it is free, given back, or its lease has run out.

        Raises:
            Locked: somebody else has it; the message says who, and since when.

        """
        held = self.store.lease(APPLY)
        now = self.clock()
        if held and held.token and held.expires > exact(now):
            raise _held_by(held)
        lease = Lease(
            fence=held.fence + 1 if held else 1,
            token=secrets.token_hex(16),
            holder=actor.name,
            run=actor.run,
            since=exact(now),
            expires=self._end(),
        )
        self.store.write_lease(APPLY, lease)
        return lease

    def renew(self, lease: Lease) -> None:
        """Put the end off. Raises Locked if the lease was lost."""
        self.check(lease)
        self.store.write_lease(APPLY, replace(lease, expires=self._end()))

    def check(self, lease: Lease) -> None:
        """Refuse a write of a holder that was too slow, even before another has taken over.

        Raises:
            Locked: the lease ran out, or another has it now.

        """
        held = self.store.lease(APPLY)
        ours = held and held.fence == lease.fence and held.token == lease.token
        if not (held and ours and held.expires > exact(self.clock())):
            raise Locked(
                "the lock was lost: its lease ran out before it was renewed",
                "this process stood still for too long; run the command again",
            )

    def give_back(self, lease: Lease) -> None:
        held = self.store.lease(APPLY)
        if held and held.fence == lease.fence and held.token == lease.token:
            self.store.write_lease(APPLY, replace(held, token=None))

    def _end(self) -> str:
        return exact(self.clock() + timedelta(seconds=self.seconds))


def _held_by(lease: Lease) -> Locked:
    run = f" (run {lease.run})" if lease.run else ""
    return Locked(
        f"{lease.holder or 'somebody'}{run} holds the lock since {_seconds(lease.since)}",
        f"wait with --lock-timeout; if it died, its lease ends by {_seconds(lease.expires)}",
    )


def _seconds(moment: str) -> str:
    return moment.partition(".")[0] + "Z"


def share(database: Path, *, create: bool) -> Callable[[], None]:
    """Say that a command works on the database; call the result when it is done.

    Without `create` an absent lock file stays absent: then no service ever ran there.

    Raises:
        Locked: a service runs on the database.

    """
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    try:
        handle = _flock(database, flags, fcntl.LOCK_SH)
    except FileNotFoundError:
        return lambda: None
    except BlockingIOError as error:
        raise Locked(
            f"a gateway service runs on this database{_who(database)}",
            "use an http target that names the service",
        ) from error
    return lambda: os.close(handle)


def hold_alone(database: Path) -> Callable[[], None]:
    """Keep every other process off the database, for a service; call the result to end it.

    Raises:
        Locked: commands, or another service, work on the database.

    """
    try:
        handle = _flock(database, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
    except BlockingIOError as error:
        raise _held_already(database) from error
    with suppress(OSError):  # a full disk: it only helps others to say who it is
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return lambda: os.close(handle)


def _held_already(database: Path) -> Locked:
    """By commands if they can be joined, else by another service."""
    try:
        os.close(_flock(database, os.O_RDONLY, fcntl.LOCK_SH))
    except OSError:
        return Locked(
            f"database {database}: another gateway service runs on it{_who(database)}",
            "one service runs on a database: stop the other, or name another file",
        )
    return Locked(
        f"database {database}: a command works on it", "wait until that command has finished"
    )


def _who(database: Path) -> str:
    """The process that holds the lock alone, as it has noted in the lock's file."""
    with suppress(OSError):
        noted = _beside(database).read_text("ascii", "replace").strip()
        if noted.isdigit():
            return f" (process {noted})"
    return ""


def _flock(database: Path, flags: int, kind: int) -> int:
    handle = os.open(_beside(database), flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _beside(database: Path) -> Path:
    return database.with_name(database.name + ".lock")
