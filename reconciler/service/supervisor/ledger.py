"""What the database says of gateways, and what their sessions have written there."""

import logging
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from reconciler.clock import stamp
from reconciler.errors import GatewaysError, PlatformUnavailable, Sealed
from reconciler.model import ActualGateway, Failure, FailureKind, Status, StatusState
from reconciler.service import contact
from reconciler.service.feed import About
from reconciler.service.refusals import Notes, Refusals
from reconciler.service.service import Service
from reconciler.service.store import Store

T = TypeVar("T")

_LOG: Final = logging.getLogger("gateways.supervisor")

MANY: Final = 50
"""So many rows are read beside the loop, not on it."""

CHECKED_EVERY: Final = timedelta(minutes=5)
"""A status that stays the same is written again no sooner, to say when it was last looked at."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which gateway of whom."""

    tenant: str
    gateway: str


class Moved(Exception):
    """The gateway was changed since it was read: what was found out is of an earlier one."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The rows of this process's gateways. Statuses carry its epoch, and are told to the feed."""

    service: Service

    async def keys(self) -> tuple[Key, ...]:
        """Every gateway of every tenant."""

        def read(connection: sqlite3.Connection) -> tuple[Key, ...]:
            rows = connection.execute("SELECT tenant, name FROM gateways ORDER BY tenant, name")
            return tuple(Key(tenant, name) for tenant, name in rows)

        return await self.service.ask(read)

    async def read(self, keys: Collection[Key]) -> list[tuple[Key, ActualGateway | None]]:
        """Each as it is; None where there is none, or none that can be read."""

        def read(connection: sqlite3.Connection) -> list[tuple[Key, ActualGateway | None]]:
            return [(key, _find(connection, key)) for key in keys]

        return await (self.service.ask if len(keys) > MANY else self.service.look)(read)

    async def check(self) -> None:
        """Raise Unsound if this process may write no more."""
        await self.service.write(lambda _: None)

    async def sealed(self) -> str:
        return await self.service.look(self.service.sealed)

    async def login(self, key: Key) -> contact.Login | None:
        """What a session of the gateway needs now; None if it is to have none.

        Raises:
            Sealed: no password can be opened.

        """

        def read(connection: sqlite3.Connection) -> contact.Login | None:
            store = Store(connection, key.tenant)
            actual = store.find(key.gateway)
            if actual is None or actual.status.state is StatusState.DISCONNECTED:
                return None
            try:
                return contact.prepare(_refusals(store), self.service.vault, actual)
            except Sealed:
                raise
            except GatewaysError as error:
                return contact.Login(actual, instead=_unreadable(error))

        return await self.service.look(read)

    async def show(
        self, key: Key, actual: ActualGateway, change: Callable[[Status, str], Status]
    ) -> ActualGateway:
        """Store another status, unless it says the same; the gateway as it is then.

        Raises:
            Moved: the gateway was changed meanwhile.

        """
        now = stamp(self.service.clock())
        status = change(actual.status, now)
        if _says_the_same(actual.status, status):
            return actual

        def write(connection: sqlite3.Connection) -> bool:
            return Store(connection, key.tenant).record_status(
                key.gateway, actual.revision, status, epoch=self.service.epoch
            )

        if not await self.service.write(write):
            raise Moved
        self.service.feed.tell(About.STATUS, key.tenant, key.gateway)
        return replace(actual, status=status)

    async def count_refusal(self, key: Key, credential: str) -> int:
        """One more refused login; how many there are now."""
        now = stamp(self.service.clock())

        def count(refusals: Refusals) -> int:
            refusals.add(credential, key.gateway, now)
            return refusals.count(credential)

        return await self._refusing(key.tenant, count)

    async def take_back_refusal(self, key: Key, credential: str) -> None:
        await self._refusing(key.tenant, lambda one: one.take_back(credential, key.gateway))

    async def forget_refusals(self, tenant: str, credential: str) -> None:
        await self._refusing(tenant, lambda one: one.forget(credential))

    async def _refusing(self, tenant: str, job: Callable[[Refusals], T]) -> T:
        return await self.service.write(
            lambda connection: job(_refusals(Store(connection, tenant)))
        )


def _find(connection: sqlite3.Connection, key: Key) -> ActualGateway | None:
    """One row that somebody altered does not keep all the others from their sessions."""
    try:
        return Store(connection, key.tenant).find(key.gateway)
    except PlatformUnavailable as error:
        extra = {"tenant": key.tenant, "gateway": key.gateway}
        _LOG.error("%s: %s", key.gateway, error.message, extra=extra)
        return None


def lost(before: Status, now: str) -> Status:
    """The session ended, and another is being opened."""
    if before.state is StatusState.CONNECTING:
        return before
    return replace(before, state=StatusState.CONNECTING, since=now, checked_at=now, failure=None)


def same_connection(one: ActualGateway, other: ActualGateway) -> bool:
    """Whether a session of the one is good for the other; of passwords nothing is known here."""
    return _connection(one) == _connection(other)


def _connection(actual: ActualGateway) -> tuple[object, ...]:
    gateway = actual.gateway
    return (
        gateway.protocol_type,
        gateway.host,
        gateway.port,
        gateway.user_id,
        gateway.authentication_flag,
        gateway.encryption_mode,
        gateway.certificate and gateway.certificate.digest,
    )


def _says_the_same(before: Status, after: Status) -> bool:
    if before != replace(after, checked_at=before.checked_at):
        return False
    passed = datetime.fromisoformat(after.checked_at) - datetime.fromisoformat(before.checked_at)
    return abs(passed) < CHECKED_EVERY


def _refusals(store: Store) -> Refusals:
    return Refusals(store, Notes(None))


def _unreadable(error: GatewaysError) -> Failure:
    return Failure(FailureKind.AUTH, "user_password", error.message, error.hint)
