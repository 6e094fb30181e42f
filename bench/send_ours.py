"""Sends messages through a gateway and prints how many in a second.

`python -m bench.send_ours DATABASE COUNT CONNECTIONS`: each message is made, stored before it is
answered, sent, and its outcome stored, which ends the last second. Callers wait for their answers,
64 at a time. `python -m bench.send_ours --fill DATABASE PORT` makes such a database, for the SMTP
server on this port of this machine.
"""

import asyncio
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from bench.accounts import password, user
from reconciler.clock import now
from reconciler.messages import MessageKind, OutgoingMessage
from reconciler.model import (
    Actor,
    DesiredGateway,
    EncryptionMode,
    Gateway,
    Place,
    ProtocolType,
    Secret,
    StatusState,
)
from reconciler.platforms.embedded import TENANT
from reconciler.service.database import open_writable
from reconciler.service.feed import About
from reconciler.service.mail.accept import accept
from reconciler.service.mail.settings import OutboxSettings
from reconciler.service.mail.works import WORKS
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import SessionSettings
from reconciler.service.store import Store
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.service.upgrade import transaction
from reconciler.service.vault import Vault
from reconciler.service.writes import Asked, Writes

NAME = "out"
CALLERS = 64


def fill(database: Path, port: int) -> None:
    """Store a gateway that has connected before."""
    gateway = Gateway(
        NAME,
        ProtocolType.SMTP,
        "127.0.0.1",
        port,
        user_id=user(0),
        default_email_address=user(0),
        default_user_name="Support",
        encryption_mode=EncryptionMode.NONE,
    )
    desired = DesiredGateway(gateway, lambda: Place("bench"), password=Secret(password(0)))
    connection = open_writable(database)
    store = Store(connection, TENANT)
    with transaction(connection):
        writes = Writes(store, Vault(database, {}), "bench", now)
        actual = writes.create(desired, Asked(Actor("bench"), "create", None))
        connected = replace(actual.status, state=StatusState.SUCCEEDED)
        store.record_status(NAME, actual.revision, connected)
    connection.close()


def message(number: int) -> OutgoingMessage:
    subject, text = f"Your question {number}", "Hello,\nwe have an answer.\n"
    return OutgoingMessage(MessageKind.AGENT, (user(0),), subject, text)


async def main(database: Path, count: int, connections: int) -> None:
    settings = ServiceSettings(SessionSettings(), outbox=OutboxSettings(sessions=connections))
    async with Service(database, settings, environment={}) as service:
        keeping = asyncio.create_task(Supervisor(service, WORKS).run())
        await send(service, -1, 0)  # by then the first session is open
        start = perf_counter()
        await send(service, 0, count)
        print(count / (perf_counter() - start))
        keeping.cancel()
        await asyncio.wait([keeping])


async def send(service: Service, first: int, end: int) -> None:
    numbers = iter(range(first, end))

    async def call() -> None:
        for number in numbers:
            await accept(service, TENANT, NAME, message(number), str(number))

    with service.feed.listen(About.OUTBOX) as listener:
        calling = asyncio.gather(*(call() for _ in range(CALLERS)))
        while not (calling.done() and await service.look(all_sent)):
            await listener.next()
        await calling


def all_sent(connection: sqlite3.Connection) -> bool:
    """Whether the outcome of every message is stored: the content of none is kept then."""
    return bool(connection.execute("SELECT sum(messages) = 0 FROM outbox_queues").fetchone()[0])


if __name__ == "__main__":
    if sys.argv[1] == "--fill":
        fill(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
