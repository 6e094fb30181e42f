"""Dropping received messages that have been kept for long enough, and saying how many they were."""

import asyncio
import logging
import sqlite3
from contextlib import suppress
from datetime import timedelta
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

    What is dropped is counted with its gateway: a cursor before it says how many there were.

    Raises:
        PlatformUnavailable: the database cannot be used.

    """
    settings = service.settings.receiving
    before = stamp(service.clock() - timedelta(days=settings.keep_days))
    dropped = 0
    while numbers := await service.look(lambda found: _older(found, before)):
        dropped += await _drop(service, numbers)
    if settings.keep_bytes is not None:
        for tenant, gateway, excess in await service.ask(
            lambda found: _too_much(found, settings.keep_bytes or 0)
        ):
            numbers = await service.ask(lambda found: _oldest(found, tenant, gateway, excess))
            dropped += await _drop(service, numbers)
    if dropped:
        logger.info("messages dropped, since they were kept for long enough: %d", dropped)
    return dropped


async def _drop(service: Service, numbers: list[int]) -> int:
    for number in numbers:
        # from the last piece on it is no longer whole, so it is hidden first
        await service.write(lambda found: _hide(found, number))
        while await service.write(lambda found: remove_some(found, number, _PIECES)):
            await asyncio.sleep(0)
    return len(numbers)
