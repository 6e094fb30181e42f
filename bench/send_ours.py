"""Sends messages through a gateway and prints the seconds from the first call until all are sent.

`python -m bench.send_ours ADDRESS PORT COUNT CONNECTIONS FOLDER`: each message is made, stored
before it is answered, sent, and its outcome stored. Callers wait for the answer, 64 at a time.
"""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

from bench.accounts import password
from reconciler.messages import MessageKind, OutgoingMessage
from reconciler.model import (
    Actor,
    DesiredGateway,
    EncryptionMode,
    Gateway,
    Place,
    ProtocolType,
    Secret,
)
from reconciler.service.feed import About
from reconciler.service.mail.accept import accept
from reconciler.service.mail.sending import send
from reconciler.service.mail.settings import OutboxSettings
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import SessionSettings, session_for
from reconciler.service.sessions.base import MailSession
from reconciler.service.store import Store
from reconciler.service.work import Held
from reconciler.service.writes import Asked, Writes

TENANT = "bench"
CALLERS = 64


async def main() -> None:
    address, folder = sys.argv[1], Path(sys.argv[5])
    port, count, connections = map(int, sys.argv[2:5])
    gateway = Gateway(
        "out",
        ProtocolType.SMTP,
        "127.0.0.1",
        port,
        user_id=address,
        default_email_address=address,
        default_user_name="Support",
        encryption_mode=EncryptionMode.NONE,
    )
    settings = ServiceSettings(SessionSettings(), OutboxSettings(sessions=connections))
    async with Service(folder / "platform.db", settings, environment={}) as service:
        held = await _held(service, gateway)
        async with held.another() as session:
            held.session = session
            working = asyncio.create_task(send(held))
            await _send(service, held, address, count)
            working.cancel()
            await asyncio.wait([working])


async def _held(service: Service, gateway: Gateway) -> Held:
    secret = Secret(password(0))

    @asynccontextmanager
    async def another() -> AsyncIterator[MailSession]:
        session = session_for(gateway, secret, service.settings.sessions)
        await session.open()
        try:
            yield session
        finally:
            await session.close()

    desired = DesiredGateway(gateway, lambda: Place("bench"), password=secret)
    actual = await service.write(
        lambda connection: Writes(
            Store(connection, TENANT), service.vault, "bench", service.clock
        ).create(desired, Asked(Actor("bench"), "create", None))
    )
    return Held(service, TENANT, actual, session_for(gateway, None), another)


async def _send(service: Service, held: Held, address: str, count: int) -> None:
    numbers = iter(range(count))

    async def call() -> None:
        for number in numbers:
            message = OutgoingMessage(
                MessageKind.AGENT,
                (address,),
                f"Your question {number}",
                "Hello,\nwe have an answer.\n",
            )
            await accept(service, TENANT, held.name, message, str(number))

    with service.feed.listen(About.OUTBOX) as listener:
        start = perf_counter()
        calling = asyncio.gather(*(call() for _ in range(CALLERS)))
        while not (calling.done() and await service.look(_all_sent)):
            await listener.next()
            held.wake.set()
        await calling
        print(perf_counter() - start)


def _all_sent(connection: sqlite3.Connection) -> bool:
    """Whether the outcome of every message is stored: the content of none is kept then."""
    return connection.execute("SELECT sum(messages) FROM outbox_queues").fetchone() == (0,)


if __name__ == "__main__":
    asyncio.run(main())
