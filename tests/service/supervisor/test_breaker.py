"""One gateway finds out for all whether a mail server answers."""

import asyncio
from collections.abc import Callable

import pytest

from reconciler.model import Failure, FailureKind
from reconciler.service.supervisor.breaker import Breaker, NotAnswering, Permit, probe_seconds
from tests.service.supervisor.virtual import virtually

DOWN = Failure(FailureKind.TCP, "port", "nothing listens there")
STUCK = Failure(FailureKind.TIMEOUT, "host", "it does not answer")


class Clients:
    """Clients of a server; each tells what it finds as soon as `decide` says so."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.trying: list[Permit] = []
        self.told: list[Failure] = []
        self.most = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def come(self, count: int, known: Failure | None = None, *, asked: bool = False) -> None:
        for _ in range(count):
            task = asyncio.create_task(self._try(known, asked=asked))
            self._tasks.add(task)

    async def _try(self, known: Failure | None, *, asked: bool) -> None:
        try:
            async with self.breaker.attempt(known, asked=asked) as permit:
                self.trying.append(permit)
                self.most = max(self.most, len(self.trying))
                while not permit.told:  # noqa: ASYNC110 - a permit tells nobody
                    await asyncio.sleep(0.001)
                self.trying.remove(permit)
        except NotAnswering as none:
            self.told.append(none.failure)

    async def all(self, tell: Callable[[Permit], None]) -> int:
        """Let all that try now hear the same; how many they were."""
        await asyncio.sleep(0.01)
        trying = list(self.trying)
        for permit in trying:
            tell(permit)
        await asyncio.sleep(0.01)
        return len(trying)

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def at_once(*_: float) -> float:
    return 0.0


def in_ten(*_: float) -> float:
    return 10.0


def fails(permit: Permit) -> None:
    permit.failed(DOWN)


def test_the_first_is_alone_and_each_answer_lets_one_more_try() -> None:
    """G11: a server that was never reached is not asked by all at once."""

    async def main() -> None:
        clients = Clients(Breaker())
        clients.come(100)
        assert [await clients.all(Permit.answered) for _ in range(6)] == [1, 2, 4, 8, 16, 32]

    virtually(main())


def test_after_a_failure_one_tries_for_all() -> None:
    """G11: and they are told once what it found, when a second one has found it too."""

    async def main() -> None:
        clients = Clients(Breaker(in_ten))
        clients.come(50)
        await clients.all(fails)
        assert clients.told == []
        assert clients.trying == []
        await asyncio.sleep(10)
        assert await clients.all(fails) == 1
        assert clients.told == [DOWN] * 48
        clients.come(48, known=DOWN)
        for _ in range(5):
            await asyncio.sleep(10)
            assert await clients.all(fails) == 1
        assert clients.told == [DOWN] * 48
        await asyncio.sleep(10)
        assert await clients.all(Permit.answered) == 1
        assert await clients.all(Permit.answered) == 2

    virtually(main())


def test_those_under_way_when_it_fails_are_one_failure() -> None:
    async def main() -> None:
        waits: list[int] = []

        def seconds(failures: int, _outage: float) -> float:
            waits.append(failures)
            return 1.0

        clients = Clients(Breaker(seconds))
        clients.come(63)
        for _ in range(5):
            await clients.all(Permit.answered)
        assert await clients.all(fails) == 32
        assert waits == [1]

    virtually(main())


def test_who_comes_later_is_told_at_once() -> None:
    async def main() -> None:
        clients = Clients(Breaker(in_ten))
        for _ in range(2):
            clients.come(1)
            await clients.all(fails)
            await asyncio.sleep(10)
        clients.come(3)
        clients.come(1, known=STUCK)
        await asyncio.sleep(0)
        assert clients.told == [DOWN] * 4

    virtually(main())


def test_who_was_asked_by_a_person_hears_what_is_so_now() -> None:
    """The next attempt is made soon, and its outcome is told even if it is as before."""

    async def main() -> None:
        clients = Clients(Breaker(lambda *_: 300.0))
        for _ in range(2):
            clients.come(1)
            await clients.all(fails)
            await asyncio.sleep(300)
        clients.come(1, known=DOWN)
        await clients.all(fails)
        clients.come(2, asked=True)
        await asyncio.sleep(0.5)
        assert clients.trying == []
        await asyncio.sleep(1)
        assert await clients.all(fails) == 1
        assert clients.told == [DOWN]
        await clients.leave()

    virtually(main())


def test_who_goes_away_leaves_his_place_to_the_next() -> None:
    async def main() -> None:
        breaker = Breaker()
        for _ in range(100):
            going, staying = Clients(breaker), Clients(breaker)
            going.come(2)
            staying.come(1)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await going.leave()
            assert await staying.all(Permit.over) == 1
            await staying.leave()

    virtually(main())


def test_what_is_only_ever_tripped_has_no_limit_before() -> None:
    async def main() -> None:
        breaker = Breaker(in_ten, trusting=True)
        clients = Clients(breaker)
        clients.come(500)
        assert await clients.all(Permit.over) == 500
        breaker.trip(DOWN)
        clients.come(500, known=DOWN)
        assert await clients.all(Permit.over) == 0
        await asyncio.sleep(10)
        assert await clients.all(Permit.answered) == 1

    virtually(main())


@pytest.mark.parametrize("outage", [10, 60, 600, 3_600, 86_400])
def test_the_end_of_an_outage_is_found_out_soon(outage: float) -> None:
    """G11: 15 seconds, or a fortieth of the outage; and it is not asked without pause."""
    waited, failures = 0.0, 0
    while waited < outage:
        failures += 1
        wait = probe_seconds(failures, waited)
        assert 0 <= wait <= min(max(15, outage / 40), 300)
        waited += wait
    assert failures <= 10 + outage / 5


def test_the_log_hears_of_an_outage_once() -> None:
    async def main() -> None:
        heard: list[Failure | None] = []
        clients = Clients(Breaker(at_once, changed=heard.append))
        clients.come(1)
        await clients.all(Permit.answered)
        for _ in range(5):
            clients.come(1, known=DOWN)
            await clients.all(fails)
        clients.come(1, known=DOWN)
        await clients.all(Permit.answered)
        assert heard == [DOWN, None]

    virtually(main())
