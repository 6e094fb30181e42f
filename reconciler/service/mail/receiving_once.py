"""Receiving for a command: one contact, where nothing keeps sessions."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from reconciler.errors import NotThere
from reconciler.model import Failure, ProtocolType, StatusState
from reconciler.service import contact
from reconciler.service.mail.receiving_imap import look_imap
from reconciler.service.mail.receiving_pop3 import look_pop3
from reconciler.service.refusals import Notes, Refusals
from reconciler.service.service import Service
from reconciler.service.sessions import SessionError, session_for
from reconciler.service.sessions.base import MailSession
from reconciler.service.store import Store
from reconciler.service.work import Held

LOOKS: Final[Mapping[ProtocolType, Callable[[Held], Awaitable[bool]]]] = {
    ProtocolType.IMAP: look_imap,
    ProtocolType.POP3: look_pop3,
}
_MAX_SESSIONS: Final = 20


async def receive_once(service: Service, tenant: str, name: str, notes: Notes) -> Failure | None:
    """Fetch what is new, and store what became of the contact; why it could not be done, or None.

    A gateway that is disconnected is left alone. What this user's refreshes were refused counts.

    Raises:
        NotThere: there is no such gateway.
        PlatformUnavailable: it cannot be stored.

    """
    visit = _Visit(service, tenant, name, notes)
    login = await service.look(visit.prepare)
    if login.actual.status.state is StatusState.DISCONNECTED:
        return None
    failure = login.instead
    if failure is None:
        try:
            await visit.make(login)
        except SessionError as error:
            failure = error.failure
    await service.write(lambda found: visit.record(found, login, failure))
    return failure


@dataclass(frozen=True, slots=True)
class _Visit:
    """One gateway's."""

    service: Service
    tenant: str
    name: str
    notes: Notes

    def prepare(self, connection: sqlite3.Connection) -> contact.Login:
        refusals = self._refusals(connection)
        actual = refusals.store.find(self.name)
        if actual is None:
            raise NotThere(
                f"gateway {self.name!r} is not on the platform", "gateways status lists them"
            )
        if actual.status.state is StatusState.DISCONNECTED:
            return contact.Login(actual)
        return contact.prepare(refusals, self.service.vault, actual)

    async def make(self, login: contact.Login) -> None:
        """One session after the other, until one has fetched all there is. Raises SessionError."""
        gateway = login.actual.gateway

        @asynccontextmanager
        async def opened() -> AsyncIterator[MailSession]:
            session = session_for(gateway, login.password, self.service.settings.sessions)
            try:
                await session.open()
                yield session
            finally:
                await session.close()

        for _ in range(_MAX_SESSIONS):
            async with opened() as session:
                held = Held(
                    self.service, self.tenant, login.actual, session, opened, asyncio.Event()
                )
                if await LOOKS[gateway.protocol_type](held):
                    return

    def record(
        self, connection: sqlite3.Connection, login: contact.Login, failure: Failure | None
    ) -> None:
        contact.record(self._refusals(connection), login, failure, self.service.clock)

    def _refusals(self, connection: sqlite3.Connection) -> Refusals:
        return Refusals(Store(connection, self.tenant), self.notes)
