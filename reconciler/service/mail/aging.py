"""What time does to outgoing messages: they are given up after days, and forgotten after more."""

import asyncio
import sqlite3
from contextlib import suppress
from datetime import timedelta
from typing import Final

from reconciler.clock import stamp
from reconciler.errors import PlatformUnavailable
from reconciler.messages import MessageState, RecipientState
from reconciler.service.feed import About
from reconciler.service.mail.outbox import Outbox
from reconciler.service.mail.queue import Queue, is_queued, settled
from reconciler.service.service import Service

_PAUSE_SECONDS: Final = 300.0
_AT_ONCE: Final = 200


async def run(service: Service) -> None:
    """Look after every gateway's messages until cancelled."""
    while True:
        with suppress(PlatformUnavailable):
            await age(service)
        await asyncio.sleep(_PAUSE_SECONDS)


async def age(service: Service) -> None:
    """Give up what has expired, and forget what has been settled for long enough."""
    for tenant, gateway in await service.ask(_with_mail):
        while await _give_up(service, tenant, gateway):
            service.feed.tell(About.OUTBOX, tenant, gateway)
    before = stamp(service.clock() - service.settings.outbox.remembered)
    while await service.write(lambda connection: _forget(connection, before)):
        pass


def _with_mail(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT tenant, gateway FROM outbox_queues WHERE messages > 0 ORDER BY tenant, gateway"
    ).fetchall()


async def _give_up(service: Service, tenant: str, gateway: str) -> int:
    now = stamp(service.clock())
    why = f"not sent within {_days(service.settings.outbox.lifetime)}"

    def job(connection: sqlite3.Connection) -> int:
        queue = Queue(connection, tenant, gateway)
        expired = queue.expired(now, _AT_ONCE)
        for waiting in expired:
            recipients = settled(waiting.recipients, is_queued, RecipientState.FAILED, why)
            queue.record(waiting, recipients, now=now, due=now)
        return len(expired)

    found = await service.write(job)
    service.metrics.sent.labels(RecipientState.FAILED.value).inc(found)
    return found


def _forget(connection: sqlite3.Connection, before: str) -> int:
    rows = connection.execute(
        "SELECT number, tenant, gateway, size, state FROM outbox "
        "WHERE finished_at < ? ORDER BY finished_at LIMIT ?",
        (before, _AT_ONCE),
    ).fetchall()
    for number, tenant, gateway, size, state in rows:
        if state == MessageState.UNKNOWN.value:  # the content of no other is still kept
            Outbox(connection, tenant).count(gateway, -1, -size)
        connection.execute("DELETE FROM outbox WHERE number = ?", (number,))
    return len(rows)


def _days(lifetime: timedelta) -> str:
    days = lifetime.total_seconds() / 86_400
    return f"{days:g} days"
