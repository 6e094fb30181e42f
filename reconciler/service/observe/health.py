"""Whether the service is alive, and whether it is ready. Cheap to ask, and silent on details."""

import asyncio
import sqlite3
from collections.abc import Mapping
from typing import Final

from reconciler.errors import GatewaysError
from reconciler.service.service import OWNER, Service
from reconciler.service.supervisor.supervisor import Supervisor

STUCK_SECONDS: Final = 10.0
"""No job of the database's takes so long, unless the disk under it no longer answers."""

DEADLINE: Final = 10.0
"""Longer than the writer waits for a program that keeps the database locked."""

OK: Final = "ok"


def alive(service: Service) -> bool:
    """Whether the disk answers, and has not failed; where this is False only a new process helps.

    It goes by what is known and asks the database nothing, so another program that keeps that
    locked delays no answer. That there is an answer says that the loop turns.
    """
    return not service.fatal.is_set() and service.busy_for < STUCK_SECONDS


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
