"""A service's database with gateways in it, made the way in which callers make them."""

import sqlite3
from pathlib import Path

from reconciler.model import (
    Actor,
    ActualGateway,
    DesiredGateway,
    EncryptionMode,
    Gateway,
    ProtocolType,
)
from reconciler.service.service import Service
from reconciler.service.store import Store
from reconciler.service.writes import Asked, Writes
from tests.platforms.contract import wanted

TENANT = "acme"
OWNER = "ours"
PASSWORD = "correct horse"
ACTOR = Actor("alice", "c0ffee", "run-1")


def far_away(
    name: str, password: str | None = PASSWORD, *, host: str = "mail.invalid", port: int = 25
) -> DesiredGateway:
    """A gateway whose host does not exist, unless another is given."""
    gateway = Gateway(
        name,
        ProtocolType.SMTP,
        host,
        port,
        user_id="alice",
        default_email_address="alice@example.com",
        encryption_mode=EncryptionMode.NONE,
    )
    return wanted(gateway, password)


async def create(service: Service, desired: DesiredGateway, key: str = "") -> ActualGateway:
    name = desired.gateway.name

    def job(connection: sqlite3.Connection) -> ActualGateway:
        writes = Writes(Store(connection, TENANT), service.vault, OWNER, service.clock)
        return writes.create(desired, Asked(ACTOR, key or name, None))

    return await service.write(job)


async def names(service: Service) -> list[str]:
    found = await service.ask(lambda connection: Store(connection, TENANT).snapshot())
    return [actual.gateway.name for actual in found]


def service_on(folder: Path) -> Service:
    return Service(folder / "platform.db", environment={})
