"""Dropping received messages that have been kept for long enough, and saying how many they were."""

import asyncio
import logging
import sqlite3
from datetime import timedelta
from functools import partial
from typing import Final

from reconciler.clock import stamp
from reconciler.errors import PlatformUnavailable
from reconciler.service.faults import Unsound
from reconciler.service.mail.intake import remove_some
from reconciler.service.service import Service

logger = logging.getLogger("gateways.receiving")

EVERY_SECONDS: Final = 600.0

_AT_ONCE: Final = 100
_PIECES: Final = 8


async def keep_dropping(service: Service) -> None:
    """Until cancelled."""
    while True:
        try:
            await drop_old(service)
        except Unsound:
            raise
        except PlatformUnavailable as error:
            logger.warning("no message is dropped now: %s", error.message)
        await asyncio.sleep(EVERY_SECONDS)


async def drop_old(service: Service) -> int:
    """Drop what is older than it is kept, and the oldest of gateways that have too much.

    What is dropped is counted with its gateway, and a cursor before it says how many there were.

    Raises:
        PlatformUnavailable: the database cannot be used.

    """
    settings = service.settings.receiving
    before = stamp(service.clock() - timedelta(days=settings.keep_days))
    dropped = 0
    while numbers := await service.look(partial(_older, before=before)):
        dropped += await _drop(service, numbers)
    if settings.keep_bytes is not None:
        excess = await service.ask(partial(_too_much, most=settings.keep_bytes))
        for (tenant, gateway), size in excess.items():
            found = partial(_oldest, tenant=tenant, gateway=gateway, size=size)
            dropped += await _drop(service, await service.ask(found))
    if dropped:
        logger.info("messages dropped, since they were kept for long enough: %d", dropped)
    return dropped


async def _drop(service: Service, numbers: list[int]) -> int:
    for number in numbers:
        await service.write(partial(_hide, number=number))
        # a few pieces at once: others have their turn between
        while await service.write(partial(remove_some, number=number, most=_PIECES)):
            pass
    return len(numbers)


def _older(connection: sqlite3.Connection, before: str) -> list[int]:
    rows = connection.execute(
        "SELECT number FROM inbox WHERE received_at < ? ORDER BY received_at LIMIT ?",
        (before, _AT_ONCE),
    )
    return [row[0] for row in rows]


def _too_much(connection: sqlite3.Connection, most: int) -> dict[tuple[str, str], int]:
    """By how many bytes each gateway has more."""
    rows = connection.execute(
        "SELECT tenant, gateway, sum(size) - ? FROM inbox WHERE complete = 1 AND has_content = 1 "
        "GROUP BY tenant, gateway HAVING sum(size) > ?",
        (most, most),
    )
    return {(tenant, gateway): excess for tenant, gateway, excess in rows}


def _oldest(connection: sqlite3.Connection, tenant: str, gateway: str, size: int) -> list[int]:
    """The first messages that together have so many bytes."""
    rows = connection.execute(
        "SELECT number, size * has_content FROM inbox "
        "WHERE tenant = ? AND gateway = ? AND complete = 1 ORDER BY number",
        (tenant, gateway),
    )
    found: list[int] = []
    for number, more in rows:
        if size <= 0:
            break
        found.append(number)
        size -= more
    return found


def _hide(connection: sqlite3.Connection, number: int) -> None:
    """Take it out of the list before any of its bytes, and count it."""
    row = connection.execute(
        "UPDATE inbox SET complete = 0, position = NULL WHERE number = ? AND complete = 1 "
        "RETURNING tenant, gateway",
        (number,),
    ).fetchone()
    if row:
        connection.execute(
            "UPDATE inbox_cursors SET dropped = dropped + 1 WHERE tenant = ? AND gateway = ?", row
        )
