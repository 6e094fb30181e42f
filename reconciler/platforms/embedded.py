"""The gateway service in this process, on a database file: nothing to install.

Connections are real, but nothing keeps them after the command: a status is that of the last
contact.
"""

import asyncio
import json
import os
import random
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from reconciler.clock import Clock, now, stamp
from reconciler.errors import GatewaysError, Locked, PlatformUnavailable, RevisionMoved
from reconciler.model import (
    Actor,
    ActualGateway,
    Cause,
    DesiredGateway,
    Happening,
    Snapshot,
    StatusState,
    Target,
)
from reconciler.platforms import HISTORY_KEPT, Platform, Write
from reconciler.service import contact
from reconciler.service.batches import Batches
from reconciler.service.database import (
    empty_log,
    make_folder,
    open_readable,
    open_writable,
)
from reconciler.service.faults import Unsound, translated
from reconciler.service.lock import Leases, share
from reconciler.service.refresh import refresh as log_in_again
from reconciler.service.refusals import Notes, Refusals
from reconciler.service.store import AuditEntry, Lease, Store
from reconciler.service.upgrade import transaction
from reconciler.service.vault import Vault
from reconciler.service.writes import Asked, Writes
from reconciler.wire_reading import happening_from

T = TypeVar("T")

TENANT: Final = "local"
LEASE_SECONDS: Final = 30.0
ANSWERS_KEPT: Final = timedelta(hours=24)


def open_platform(target: Target, root: Path) -> Platform:
    """The platform of an embedded target; nothing is opened or made before it is used."""
    return EmbeddedPlatform(root / target.database, target.owner)


class EmbeddedPlatform:
    """One tenant's gateways in one database file, written through a thread of its own."""

    def __init__(
        self,
        database: Path,
        owner: str,
        *,
        clock: Clock = now,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._vault = Vault(database, os.environ)
        self._notes = Notes.open(os.environ)
        self._batches = Batches(database, self._open)
        self._connection: sqlite3.Connection | None = None
        self._lease: Lease | None = None
        self._unshare: Callable[[], None] | None = None
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, *, refresh: bool = False) -> Snapshot:
        if not refresh:
            return Snapshot(await self._batches.run(lambda: self._look(Store.snapshot, ())))
        nobody: list[contact.Login] = []
        logins = await self._batches.run(lambda: self._look(self._logins, nobody))
        return Snapshot(await log_in_again(logins, self._notes, self._clock))

    async def history(self, names: Collection[str]) -> Mapping[str, tuple[Happening, ...]]:
        def look(store: Store) -> dict[str, tuple[Happening, ...]]:
            entries = ((name, store.audit(name)[-HISTORY_KEPT:]) for name in sorted(names))
            return {name: tuple(map(_happening, found)) for name, found in entries if found}

        return await self._batches.run(lambda: self._look(look, {}))

    async def create(self, desired: DesiredGateway, write: Write) -> ActualGateway:
        return await self._write(lambda writes: writes.create(desired, _asked(write)))

    async def edit(
        self, desired: DesiredGateway, write: Write, *, reconnect: bool
    ) -> ActualGateway:
        return await self._write(
            lambda writes: writes.edit(desired, _asked(write), reconnect=reconnect)
        )

    async def rebuild(self, name: str, write: Write, *, force: bool = False) -> ActualGateway:
        return await self._write(lambda writes: writes.rebuild(name, _asked(write), force=force))

    async def disconnect(self, name: str, write: Write, *, cause: Cause) -> ActualGateway:
        answer = await self._write(
            lambda writes: writes.disconnect(name, _asked(write), cause=cause)
        )
        if cause is Cause.UNDECLARED:
            await self._batches.run(self._empty_log)
        return answer

    async def adopt(self, desired: DesiredGateway, write: Write) -> ActualGateway:
        return await self._write(lambda writes: writes.adopt(desired, _asked(write)))

    async def settle(self, name: str, *, seconds: float) -> ActualGateway:
        """Make the contact that a write asked for, now.

        Never two at once of one gateway, nor with one user and password: the refusals of the
        first count for the second.
        """
        async with self._turns[name]:
            login = await self._batches.write(lambda: self._prepare(name))
            turn = self._turns[login.credential or f"{name} without login"]
            in_turn = turn.locked()
            async with turn:
                if in_turn:
                    login = await self._batches.write(lambda: self._prepare(name))
                return await self._contact(login, seconds)

    @asynccontextmanager
    async def lock(self, actor: Actor, *, seconds: float) -> AsyncIterator[None]:
        taken: list[Lease] = []
        try:
            await self._take(actor, seconds, taken)
            self._lease = taken[0]
            renewing = asyncio.create_task(self._renew(taken[0]))
            try:
                yield
            finally:
                renewing.cancel()
                await asyncio.wait([renewing])
        finally:
            # queued behind the taking, so that one that was cut short is given back as well
            with suppress(GatewaysError):
                try:
                    await self._batches.write(lambda: self._give_back(taken))
                except Unsound:
                    await asyncio.to_thread(self._give_back_anew, taken)
            self._lease = None

    async def close(self) -> None:
        await self._batches.close(self._close)

    async def _contact(self, login: contact.Login, seconds: float) -> ActualGateway:
        if login.actual.status.state is not StatusState.CONNECTING:
            return login.actual
        failure = await contact.make(login, seconds)
        return await self._batches.write(
            lambda: contact.record(self._refusals(self._store()), login, failure, self._clock)
        )

    async def _take(self, actor: Actor, seconds: float, taken: list[Lease]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            try:
                await self._batches.write(lambda: taken.append(self._leases().take(actor)))
            except Locked:
                left = deadline - loop.time()
                if left <= 0:
                    raise
                pause = random.uniform(0.1, 0.4)  # noqa: S311 - keeps waiters apart
                await asyncio.sleep(min(left, pause))
            else:
                return

    async def _renew(self, lease: Lease) -> None:
        """Once the lease is lost there is nothing to renew: each write is refused then."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                await self._batches.write(lambda: self._leases().renew(lease))
            except Locked:
                return
            except GatewaysError:
                continue  # a full disk may have room again before the lease ends

    def _give_back(self, taken: list[Lease]) -> None:
        for lease in taken:
            self._leases().give_back(lease)

    def _give_back_anew(self, taken: list[Lease]) -> None:
        """After a failed disk: over a connection that has looked at the file again."""
        connection = open_writable(self._database)
        try:
            with translated(self._database), transaction(connection):
                leases = Leases(Store(connection, TENANT), self._clock, self._lease_seconds)
                for lease in taken:
                    leases.give_back(lease)
        finally:
            connection.close()

    async def _write(self, job: Callable[[Writes], T]) -> T:
        def fenced() -> T:
            store = self._store()
            if self._lease:
                self._leases().check(self._lease)
            return job(Writes(store, self._vault, self._owner, self._clock, self._notes))

        return await self._batches.write(fenced)

    # From here on: only ever in a job of the batches, which has the connection for itself.

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            make_folder(self._database)
            self._share(create=True)
            connection = open_writable(self._database)
            with transaction(connection):
                too_old = stamp(self._clock() - ANSWERS_KEPT)
                Store(connection, TENANT).forget_answers_before(too_old)
            self._connection = connection
        return self._connection

    def _share(self, *, create: bool) -> None:
        if self._unshare is None:
            with translated(self._database):
                self._unshare = share(self._database, create=create)

    def _store(self) -> Store:
        return Store(self._open(), TENANT)

    def _refusals(self, store: Store) -> Refusals:
        return Refusals(store, self._notes)

    def _leases(self) -> Leases:
        return Leases(self._store(), self._clock, self._lease_seconds)

    def _look(self, question: Callable[[Store], T], absent: T) -> T:
        """Ask the database without being able to write; `absent` where there is none."""
        self._share(create=False)
        with translated(self._database):
            connection = self._connection or open_readable(self._database)
            if connection is None:
                return absent
            try:
                connection.execute("BEGIN")
                return question(Store(connection, TENANT))
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
                if connection is not self._connection:
                    connection.close()

    def _logins(self, store: Store) -> list[contact.Login]:
        return [
            contact.prepare(self._refusals(store), self._vault, actual)
            if actual.status.state is not StatusState.DISCONNECTED
            else contact.Login(actual)
            for actual in store.snapshot()
        ]

    def _prepare(self, name: str) -> contact.Login:
        store = self._store()
        actual = store.find(name)
        if actual is None:
            raise RevisionMoved(f"gateway {name!r} is not on the platform", "make a new plan")
        if actual.status.state is not StatusState.CONNECTING:
            return contact.Login(actual)
        return contact.prepare(self._refusals(store), self._vault, actual)

    def _empty_log(self) -> None:
        with translated(self._database):
            empty_log(self._open())

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
        if self._unshare:
            self._unshare()
        self._connection = self._unshare = None


def _asked(write: Write) -> Asked:
    return Asked(write.actor, write.key, write.revision)


def _happening(entry: AuditEntry) -> Happening:
    try:
        return happening_from({**asdict(entry), "changes": json.loads(entry.changes)})
    except (LookupError, TypeError, ValueError) as error:
        raise PlatformUnavailable(
            f"the history of gateway {entry.gateway!r} cannot be read: the database was altered",
            "restore the database from a backup",
        ) from error
