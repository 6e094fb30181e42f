"""Keeps the sessions of all gateways of a database, and does nothing else.

`python -m bench.held DATABASE PER_SECOND` ends once all are open and its input has ended, and says
how many connections it made in its busiest second;
`python -m bench.held --fill DATABASE COUNT PORT CA` makes such a database, for the IMAP server on
this port of this machine.
"""

import asyncio
import logging
import resource
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path

from bench.accounts import password, user
from reconciler.clock import now
from reconciler.model import (
    Actor,
    Certificate,
    DesiredGateway,
    Gateway,
    Place,
    ProtocolType,
    Secret,
    StatusState,
)
from reconciler.service.database import open_writable
from reconciler.service.mail.works import WORKS
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import SessionSettings, session_for
from reconciler.service.sessions.base import MailSession
from reconciler.service.store import Store
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.service.upgrade import transaction
from reconciler.service.vault import Vault
from reconciler.service.writes import Asked, Writes

TENANT = "bench"
_POLL_SECONDS = 0.1


def fill(database: Path, count: int, port: int, ca_file: Path) -> None:
    """Store gateways that have connected before."""
    anchor = Certificate("certs/root.pem", ca_file.read_text())
    connection = open_writable(database)
    store = Store(connection, TENANT)
    writes = Writes(store, Vault(database, {}), "bench", now)
    with transaction(connection):
        for number in range(count):
            gateway = Gateway(
                f"gateway-{number:06}",
                ProtocolType.IMAP,
                "127.0.0.1",
                port,
                user_id=user(number),
                certificate=anchor,
            )
            wanted = DesiredGateway(
                gateway, lambda: Place("bench"), password=Secret(password(number))
            )
            actual = writes.create(wanted, Asked(Actor("bench"), gateway.name, None))
            connected = replace(actual.status, state=StatusState.SUCCEEDED)
            store.record_status(gateway.name, actual.revision, connected)
    connection.close()


async def hold(database: Path, per_second: int) -> None:
    """Open every session, and keep them until there is no more input."""
    settings = ServiceSettings(SessionSettings(private_hosts=True))
    pace = SupervisorSettings(per_second, max(per_second, SupervisorSettings().all_connections))
    async with Service(database, settings, environment={}) as service:
        count = await service.look(
            lambda connection: connection.execute("SELECT count(*) FROM gateways").fetchone()[0]
        )
        connections = Connections()
        supervisor = Supervisor(service, WORKS, pace, sessions=connections.session)
        running = asyncio.create_task(supervisor.run())
        while _open(supervisor, count) < count:  # noqa: ASYNC110 - it tells only of statuses
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.to_thread(sys.stdin.read)
        running.cancel()
        await asyncio.wait([running])
        print(connections.busiest)


class Connections:
    """Sessions as usual, and how many of them began to connect in any one second."""

    def __init__(self) -> None:
        self.busiest = 0
        self._recent: deque[float] = deque()

    def session(
        self, gateway: Gateway, password: Secret | None, settings: SessionSettings
    ) -> MailSession:
        session = session_for(gateway, password, settings)
        connect = session.wire.connect

        async def counted() -> str:
            self._count(asyncio.get_running_loop().time())
            return await connect()

        session.wire.connect = counted  # type: ignore[method-assign]
        return session

    def _count(self, now: float) -> None:
        self._recent.append(now)
        while now - self._recent[0] >= 1:
            self._recent.popleft()
        self.busiest = max(self.busiest, len(self._recent))


def _open(supervisor: Supervisor, count: int) -> int:
    known = (supervisor.facts(TENANT, f"gateway-{number:06}") for number in range(count))
    return sum(facts is not None and facts.open_since is not None for facts in known)


if __name__ == "__main__":
    if sys.argv[1] == "--fill":
        fill(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        logging.disable()  # a line for each session that is lost is no part of the measurement
        asyncio.run(hold(Path(sys.argv[1]), int(sys.argv[2])))
