"""No second, wherever it begins, has more new connections than a mail server is owed."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from reconciler.service.supervisor.pace import Pace
from tests.service.supervisor.virtual import VirtualLoop, busiest, virtually

PER_HOST, IN_ALL = 50, 200


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


async def turns(pace: Pace, count: int, moments: list[float]) -> None:
    async def one() -> None:
        await pace.turn()
        moments.append(loop().time())

    await asyncio.gather(*(one() for _ in range(count)))


@pytest.mark.parametrize("seed", range(20))
def test_no_second_has_more_than_the_limit(seed: int) -> None:
    """G11: bursts, pauses, and a process that stands still now and then change nothing."""

    async def main() -> tuple[list[list[float]], list[float]]:
        chance = random.Random(seed)  # noqa: S311 - a case
        whole = Pace(IN_ALL)
        hosts: list[list[float]] = [[] for _ in range(8)]
        paces = [Pace(PER_HOST, whole) for _ in hosts]

        async def stand_still() -> None:
            while True:
                await asyncio.sleep(chance.expovariate(2))
                loop().jump(chance.choice((0.003, 0.03, 0.3, 3)))  # nothing runs meanwhile

        standing_still = asyncio.create_task(stand_still())
        for _ in range(4):
            bursts = (chance.choice((1, 49, 50, 51, 200)) for _ in hosts)
            await asyncio.gather(*map(turns, paces, bursts, hosts))
            await asyncio.sleep(chance.choice((0, 0.5, 0.99, 1.01, 60)))
        standing_still.cancel()
        return hosts, sorted(moment for moments in hosts for moment in moments)

    hosts, everything = virtually(main())
    assert max(busiest(moments) for moments in hosts) <= PER_HOST
    assert busiest(everything) <= IN_ALL


@pytest.mark.parametrize("limit", [1, 2, 3, 50, 1_000])
def test_any_limit_holds(limit: int) -> None:
    async def main() -> list[float]:
        moments: list[float] = []
        await turns(Pace(limit), 5 * limit, moments)
        return moments

    assert busiest(virtually(main())) <= limit


@pytest.mark.parametrize("late", [0.002, 0.02, 0.1])
def test_a_long_queue_gets_almost_what_the_limit_allows(late: float) -> None:
    """G11: also where this process is late each time, by little or by much."""

    async def main() -> list[float]:
        moments: list[float] = []

        async def be_late() -> None:
            while True:
                await asyncio.sleep(late)
                loop().jump(random.uniform(0, late))  # noqa: S311 - a case

        being_late = asyncio.create_task(be_late())
        await turns(Pace(PER_HOST, Pace(IN_ALL)), 2_000, moments)
        being_late.cancel()
        return moments

    moments = virtually(main())
    assert busiest(moments) <= PER_HOST
    assert moments[-1] - moments[0] < 1.06 * len(moments) / PER_HOST


def test_after_a_quiet_time_turns_are_even_again() -> None:
    """Nothing is made up for that nobody asked for."""

    async def main() -> list[float]:
        pace, moments = Pace(PER_HOST), list[float]()
        await turns(pace, 5, [])
        await asyncio.sleep(60)
        await turns(pace, 20, moments)
        return moments

    assert busiest(virtually(main()), 0.1) <= 6


def waits(moments: Sequence[float], began: float) -> float:
    return max(moments) - began


def test_a_host_with_a_long_queue_keeps_no_other_waiting() -> None:
    """G11: ten hosts with a thousand each, and one gateway elsewhere."""

    async def main() -> float:
        whole = Pace(IN_ALL)
        storms = [asyncio.create_task(turns(Pace(PER_HOST, whole), 1_000, [])) for _ in range(10)]
        await asyncio.sleep(10)
        began, moments = loop().time(), list[float]()
        await turns(Pace(PER_HOST, whole), 1, moments)
        for storm in storms:
            storm.cancel()
        await asyncio.gather(*storms, return_exceptions=True)
        return waits(moments, began)

    assert virtually(main()) < 0.1


def test_another_address_of_a_host_is_tried_before_others_begin() -> None:
    """G11: it counts, and does not wait behind thousands until its time is up."""

    async def main() -> tuple[float, int]:
        pace, moments = Pace(PER_HOST, Pace(IN_ALL)), list[float]()
        storm = asyncio.create_task(turns(pace, 1_000, moments))
        slowest = 0.0

        async def try_three_addresses() -> None:
            nonlocal slowest
            await asyncio.sleep(1)
            for _ in range(3):
                began = loop().time()
                await pace.one_more()
                moments.append(loop().time())
                slowest = max(slowest, loop().time() - began)

        await asyncio.gather(*(try_three_addresses() for _ in range(20)))
        await storm
        return slowest, busiest(moments)

    slowest, most = virtually(main())
    assert slowest < 1
    assert most <= PER_HOST


def test_whoever_gives_up_waiting_takes_no_turn() -> None:
    async def main() -> float:
        pace = Pace(PER_HOST)
        moments: list[float] = []
        began = loop().time()
        patient = asyncio.create_task(turns(pace, 5, moments))
        await asyncio.sleep(0)
        hasty = [asyncio.create_task(pace.turn()) for _ in range(1_000)]
        await asyncio.sleep(0.01)
        for one in hasty:
            one.cancel()
        await asyncio.gather(*hasty, return_exceptions=True)
        await patient
        await turns(pace, 1, moments)
        return waits(moments, began)

    assert virtually(main()) < 0.2
