"""Whether the service is alive, and whether it is ready. Cheap to ask, and silent on details."""

import asyncio
import sqlite3
from collections.abc import Mapping
from typing import Final

from reconciler.errors import GatewaysError
from reconciler.service.faults import Unsound
from reconciler.service.service import OWNER, Service
from reconciler.service.supervisor.supervisor import Supervisor

DEADLINE: Final = 10.0
"""Longer than the writer waits for a program that keeps the database locked."""

OK: Final = "ok"


async def alive(service: Service) -> bool:
    """The loop turns, and the writer answers: be it that another program keeps the database locked.

    Where this is False, only a new process helps.
    """
    try:
        async with asyncio.timeout(DEADLINE):
            await service.write(lambda _: None)
    except (Unsound, TimeoutError):
        return False
    except GatewaysError:
        pass
    return not service.fatal.is_set()


async def readiness(service: Service, supervisor: Supervisor, *, ending: bool) -> Mapping[str, str]:
    """What the service needs for its work, each with what is the matter with it."""
    return {
        "service": "ending" if ending else OK,
        "database": await _database(service),
        "vault": await _vault(service),
        "supervisor": OK if supervisor.running else "not running",
    }


async def _database(service: Service) -> str:
    """Whether something can really be written: a full disk shows nowhere else."""
    try:
        async with asyncio.timeout(DEADLINE):
            await service.write(_write)
    except (GatewaysError, TimeoutError):
        return "cannot be written"
    return OK


def _write(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE epochs SET epoch = epoch WHERE name = ?", (OWNER,))


async def _vault(service: Service) -> str:
    try:
        return "sealed" if await service.look(service.sealed) else OK
    except GatewaysError:
        return "not known"
