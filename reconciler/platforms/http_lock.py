"""Holding the lock of a tenant on the service: taken, renewed, and given back however it ends."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from reconciler.errors import GatewaysError, Locked, NotThere
from reconciler.model import Actor
from reconciler.platforms.http_client import Client, Json, Request
from reconciler.platforms.http_retry import Patience
from reconciler.wire import actor_data

PATH: Final = "/v1/lock"
_PARTING_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Lease:
    """`seconds` is how long the service keeps the lock for a holder that is not heard."""

    id: str
    seconds: float

    @property
    def path(self) -> str:
        return f"{PATH}/{quote(self.id, safe='')}"


@asynccontextmanager
async def hold(client: Client, actor: Actor, seconds: float) -> AsyncIterator[Lease]:
    """Hold the lock; who stands still for too long loses it, and the service refuses his writes.

    Raises:
        Locked: somebody else kept it for `seconds`.

    """
    leave = asyncio.Event()
    taking = asyncio.create_task(_take(client, actor, seconds, leave))
    try:
        lease = await asyncio.shield(taking)
        renewing = asyncio.create_task(_renew(client, lease))
        try:
            yield lease
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
    finally:
        # one that was interrupted while it asked may have been given the lock
        leave.set()
        await asyncio.wait([taking], timeout=_PARTING_SECONDS)
        await _give_back(client, taking)


async def _take(client: Client, actor: Actor, seconds: float, leave: asyncio.Event) -> Lease:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            return await client.ask(_asking(actor), _lease)
        except Locked:
            left = deadline - loop.time()
            if left <= 0 or leave.is_set():
                raise
            pause = random.uniform(0.1, 0.4)  # noqa: S311 - keeps waiters apart
            await asyncio.sleep(min(left, pause))


def _asking(actor: Actor) -> Request:
    """With a key, so that a lock that was given and not heard of is given again."""
    key = {"Idempotency-Key": uuid.uuid4().hex}
    return Request("POST", PATH, {"actor": actor_data(actor)}, key, writes=True)


def _lease(data: Json) -> Lease:
    lease = Lease(data["id"], float(data["seconds"]))
    if not isinstance(lease.id, str) or not lease.id or not lease.seconds > 0:
        raise ValueError
    return lease


async def _renew(client: Client, lease: Lease) -> None:
    """Once the lease is lost there is nothing to renew: each write is refused then."""
    patience = Patience(attempt=lease.seconds / 3, budget=lease.seconds / 3)
    while True:
        await asyncio.sleep(lease.seconds / 3)
        try:
            await client.ask(Request("PUT", lease.path, {}, patience=patience), bool)
        except (Locked, NotThere):
            return
        except GatewaysError:
            continue  # the network may be there again before the lease ends


async def _give_back(client: Client, taking: "asyncio.Task[Lease]") -> None:
    if not taking.done():
        taking.cancel()
        await asyncio.wait([taking])
    if taking.cancelled() or taking.exception():
        return
    patience = replace(client.patience, budget=_PARTING_SECONDS, attempt=_PARTING_SECONDS)
    with suppress(GatewaysError):  # then it ends by itself
        request = Request("DELETE", taking.result().path, patience=patience)
        await client.ask(request, lambda _: None)
