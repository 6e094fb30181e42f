"""A service with its supervisor and a mail server, for tests of sessions that are kept."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.clock import Clock, now
from reconciler.model import (
    Actor,
    ActualGateway,
    Cause,
    Certificate,
    DesiredGateway,
    EncryptionMode,
    Failure,
    FailureKind,
    Fingerprint,
    Gateway,
    Place,
    ProtocolType,
    Secret,
    StatusState,
)
from reconciler.service.feed import About
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import Deadlines, SessionSettings
from reconciler.service.store import Store
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.service.work import KEEP_ONLY, Work
from reconciler.service.writes import Asked, Writes

TENANT = "acme"
USER = "agent@example.com"
PASSWORD = "correct horse battery"
SECONDS = 20.0
"""How long a test waits for what must happen; it fails long before that would be felt."""

KEY = Secret("a key for fingerprints")
SETTINGS = ServiceSettings(
    SessionSettings(Deadlines(dns=5, connect=2, tls=2, greeting=2, command=2, close=0.5))
)

_numbers = itertools.count(1)


def gateway_on(
    server: Any,
    name: str = "support",
    protocol: ProtocolType = ProtocolType.IMAP,
    mode: EncryptionMode = EncryptionMode.NONE,
    **fields: Any,
) -> Gateway:
    """A gateway on a mail server of the demo's."""
    anchor = Certificate("certs/root.pem", server.ca_file.read_text())
    return Gateway(
        name,
        protocol,
        fields.pop("host", "127.0.0.1"),
        fields.pop("port", 0) or server.ports[protocol, mode],
        encryption_mode=mode,
        certificate=None if mode is EncryptionMode.NONE else anchor,
        **{"user_id": USER, "default_email_address": USER, **fields},
    )


def desired(gateway: Gateway, password: str | None = PASSWORD) -> DesiredGateway:
    secret = Secret(password) if password is not None else None
    fingerprint = (
        Fingerprint.of(secret, KEY, target="local", gateway=gateway.name) if secret else None
    )
    return DesiredGateway(
        gateway,
        lambda: Place("gateways.d/support.yaml"),
        secret="support" if secret else None,
        password=secret,
        fingerprint=fingerprint,
    )


@dataclass(frozen=True)
class Stage:
    """What an API would do, without one."""

    service: Service
    supervisor: Supervisor
    tenant: str = TENANT

    async def write(self, job: Callable[[Writes, Asked], ActualGateway]) -> ActualGateway:
        asked = Asked(Actor("alice"), f"write-{next(_numbers)}", None)
        actual = await self.service.write(
            lambda connection: job(
                Writes(
                    Store(connection, self.tenant), self.service.vault, "ours", self.service.clock
                ),
                asked,
            )
        )
        self.service.feed.tell(About.GATEWAY, self.tenant, actual.gateway.name)
        return actual

    async def create(self, gateway: Gateway, password: str | None = PASSWORD) -> ActualGateway:
        return await self.write(
            lambda writes, asked: writes.create(desired(gateway, password), asked)
        )

    async def create_all(self, gateways: Iterable[tuple[Gateway, str | None]]) -> None:
        """Create many in one transaction."""
        wanted = [desired(gateway, password) for gateway, password in gateways]

        def job(connection: sqlite3.Connection) -> None:
            store = Store(connection, self.tenant)
            writes = Writes(store, self.service.vault, "ours", self.service.clock)
            for one in wanted:
                writes.create(one, Asked(Actor("alice"), f"write-{next(_numbers)}", None))

        await self.service.write(job)
        for one in wanted:
            self.service.feed.tell(About.GATEWAY, self.tenant, one.gateway.name)

    async def edit(
        self, gateway: Gateway, password: str | None = PASSWORD, *, reconnect: bool = True
    ) -> ActualGateway:
        wanted = desired(gateway, password)
        return await self.write(
            lambda writes, asked: writes.edit(wanted, asked, reconnect=reconnect)
        )

    async def rebuild(self, name: str = "support", *, force: bool = False) -> ActualGateway:
        return await self.write(lambda writes, asked: writes.rebuild(name, asked, force=force))

    async def disconnect(self, name: str = "support") -> ActualGateway:
        return await self.write(
            lambda writes, asked: writes.disconnect(name, asked, cause=Cause.BY_HAND)
        )

    async def settled(self, name: str = "support", *, seconds: float = SECONDS) -> ActualGateway:
        return await self.supervisor.settled(self.tenant, name, seconds=seconds)

    async def connected(self, gateway: Gateway, password: str = PASSWORD) -> ActualGateway:
        """Create the gateway and wait until it has connected."""
        await self.create(gateway, password)
        actual = await self.settled(gateway.name)
        assert actual.status.state is StatusState.SUCCEEDED, actual.status
        return actual

    async def read(self, name: str = "support") -> ActualGateway:
        found = await self.service.look(
            lambda connection: Store(connection, self.tenant).find(name)
        )
        assert found
        return found

    async def all(self) -> tuple[ActualGateway, ...]:
        return await self.service.look(lambda connection: Store(connection, self.tenant).snapshot())

    async def becomes(self, state: StatusState, name: str = "support") -> ActualGateway:
        """Wait until the stored status is this one."""
        with self.service.feed.listen(About.STATUS, About.GATEWAY) as listener:
            async with asyncio.timeout(SECONDS):
                while (actual := await self.read(name)).status.state is not state:
                    await listener.next()
        return actual

    async def failure(self, kind: FailureKind, name: str = "support") -> Failure:
        """Wait until it has failed in this way."""
        async with asyncio.timeout(SECONDS):
            while True:
                failure = (await self.becomes(StatusState.FAILED, name)).status.failure
                assert failure
                if failure.kind is kind:
                    return failure
                await asyncio.sleep(0.01)


@asynccontextmanager
async def staged(
    folder: Path,
    works: Mapping[ProtocolType, Work] = KEEP_ONLY,
    *,
    settings: ServiceSettings = SETTINGS,
    pacing: SupervisorSettings | None = None,
    clock: Clock = now,
    **more: Any,
) -> AsyncIterator[Stage]:
    """A service on the database in `folder`, whose supervisor runs."""
    async with Service(folder / "platform.db", settings, clock=clock, environment={}) as service:
        supervisor = Supervisor(service, works, pacing, **more)
        running = asyncio.create_task(supervisor.run())
        try:
            yield Stage(service, supervisor)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def until(
    condition: Callable[[], bool], *, seconds: float = SECONDS, every: float = 0.005
) -> None:
    """Look again and again; on a virtual clock a look costs more than the time between."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a server counts, and tells nobody
            await asyncio.sleep(every)
