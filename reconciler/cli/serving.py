"""How the parts of the gateway service are put together, and how they end."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from reconciler.cli.ending import Ending, end_now
from reconciler.cli.logs import log_forgotten
from reconciler.errors import ExitCode, WrongUsage
from reconciler.service.database import has_content
from reconciler.service.http.accept import Limits, bound
from reconciler.service.http.listen import listening
from reconciler.service.http.routing import Site
from reconciler.service.http.tls import ServerTls
from reconciler.service.mail import aging, retention, webhooks
from reconciler.service.mail.receiving_settings import ReceivingSettings
from reconciler.service.mail.works import WORKS
from reconciler.service.process import open_files, tell_systemd
from reconciler.service.rekey import rekey
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import SessionSettings
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.service.vault import KEY_VARIABLE, Vault

logger = logging.getLogger("gateways.serve")

SPARE_FILES: Final = 64
"""For the database, its journal, look-ups of names: sessions never take these."""

API_SHARE: Final = 4
"""The API may have one in so many of all open files as connections, and 1,000 at most."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks for."""

    host: str
    port: int
    database: Path
    certificate: Path | None
    key: Path | None
    private_hosts: bool
    plain: bool
    old_key: Path | None = None
    receiving: ReceivingSettings = field(default_factory=ReceivingSettings)


async def serve(order: Order) -> NoReturn:
    """Everything that the service is, from the outside in; it ends the other way round.

    Raises:
        GatewaysError: it cannot be started, or its sessions have ended by a fault.

    """
    asyncio.get_running_loop().set_exception_handler(log_forgotten)
    files = open_files()
    limits = Limits(min(1_000, files // API_SHARE), files - SPARE_FILES // 2)
    sessions = SessionSettings(private_hosts=order.private_hosts, files=files - SPARE_FILES)
    tls = ServerTls(order.certificate, order.key) if order.certificate and order.key else None
    ending = Ending(tls)
    with _listener(order) as listener:
        absent = not has_content(order.database)
        async with Service(
            order.database, ServiceSettings(sessions, receiving=order.receiving)
        ) as service:
            if absent:
                logger.info("there was no database %s: a new, empty one is made", order.database)
            if order.old_key:
                await _rekey(service, order.old_key)
            supervisor = Supervisor(service, WORKS)
            async with (
                _beside(_keep(service, supervisor), ending) as keeping,
                listening(Site(service, supervisor), listener, tls=tls, limits=limits),
            ):
                await _welcome(service, listener, tls, files)
                tell_systemd("READY=1")
                await ending.wait(service, keeping)
                tell_systemd("STOPPING=1")
    # at once: a look-up of a name that hangs in a thread would be waited for
    end_now("stopped", ExitCode.DONE)


async def _keep(service: Service, supervisor: Supervisor) -> None:
    """What goes on whether somebody calls or not. Without the key of passwords it only waits."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(supervisor.run())
        tasks.create_task(webhooks.run(service))
        tasks.create_task(retention.keep_dropping(service))
        tasks.create_task(aging.run(service))


async def _rekey(service: Service, old_key: Path) -> None:
    old = Vault(service.database, {KEY_VARIABLE: str(old_key)})
    done = await service.write(lambda connection: rekey(connection, old, service.vault))
    logger.info(
        "passwords and secrets sealed anew with %s: %d; %s is no longer needed but for backups",
        service.vault.path,
        done,
        old_key,
    )


@asynccontextmanager
async def _beside(
    work: Coroutine[Any, Any, None], ending: Ending
) -> AsyncIterator[asyncio.Task[None]]:
    """Run it until the `async with` ends, and leave it a while to end as it should."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        _, late = await asyncio.wait([task], timeout=ending.seconds_left)
        if late:
            logger.warning("not every session could say goodbye in time")


async def _welcome(
    service: Service, listener: socket.socket, tls: ServerTls | None, files: int
) -> None:
    gateways, kept = await service.look(
        lambda connection: connection.execute(
            "SELECT count(*), coalesce(sum(status != 'disconnected'), 0) FROM gateways"
        ).fetchone()
    )
    host, port = listener.getsockname()[:2]
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if tls:
        logger.info("certificate %s", tls.about)
    if kept + SPARE_FILES > files * (1 - 1 / API_SHARE):
        logger.warning(
            "%d gateways are to be connected, and only %d files may be open: allow more "
            "(LimitNOFILE of the systemd unit, or ulimit -n)",
            kept,
            files,
        )
    logger.info("gateways: %d, to be connected: %d", gateways, kept)
    logger.info("listening on %s://%s", "https" if tls else "http", where)
    logger.info("ready")


def _listener(order: Order) -> socket.socket:
    """Where the API is to be; without TLS only for this machine, unless that is meant."""
    listener = bound(order.host, order.port)
    host = listener.getsockname()[0]
    if order.certificate or order.plain or ipaddress.ip_address(host).is_loopback:
        return listener
    listener.close()
    raise WrongUsage(
        f"--listen {order.host}:{order.port}: tokens and passwords would pass there unencrypted",
        "give --tls-certificate and --tls-key; or, if a reverse proxy in front does TLS, "
        "--allow-plain-http",
    )
