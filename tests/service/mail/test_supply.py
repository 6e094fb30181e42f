"""Who hands messages out to the sessions of a gateway."""

import asyncio
from collections import deque
from typing import cast

import pytest

from reconciler.service.mail.attempts import Attempts
from reconciler.service.mail.queue import Claimed
from reconciler.service.mail.supply import LOT, Supply


class Queue:
    """In place of the database's: what is claimed, once it may be."""

    def __init__(self, *lots: int) -> None:
        self.lots = deque(lots)
        self.may_claim = asyncio.Event()
        self.before_it_ends: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def next_due(self) -> float | None:
        return 0.0 if self.lots else None

    async def claim(self, most: int) -> deque[Claimed]:
        await self.may_claim.wait()
        if not self.before_it_ends.done():
            self.before_it_ends.set_result(None)
        return deque(cast(Claimed, object()) for _ in range(min(most, self.lots.popleft())))


def supply_of(queue: Queue, sessions: int = 1) -> Supply:
    return Supply(cast(Attempts, queue), lambda: sessions, lambda: None)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("claimed", [0, 1])
async def test_who_comes_just_when_a_claim_has_ended(claimed: int) -> None:
    """He neither waits for ever nor keeps the loop from everybody else."""
    queue = Queue(claimed)
    supply = supply_of(queue)

    async def comes_just_then() -> Claimed | None:
        await queue.before_it_ends
        return await supply.take()

    takers = [asyncio.create_task(supply.take()), asyncio.create_task(comes_just_then())]
    await asyncio.sleep(0)
    queue.may_claim.set()
    taken = await asyncio.gather(*takers)
    assert sum(one is not None for one in taken) == claimed


@pytest.mark.timeout(20)
async def test_a_claim_that_fails_is_told_and_tried_again() -> None:
    queue = Queue(LOT)
    supply = supply_of(queue)
    queue.may_claim.set()
    lots, queue.lots = queue.lots, cast("deque[int]", _Broken([1]))
    with pytest.raises(IndexError):
        await supply.take()
    queue.lots = lots
    assert await supply.take() is not None


class _Broken(deque[int]):
    def popleft(self) -> int:
        raise IndexError
