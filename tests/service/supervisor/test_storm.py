"""Thousands of gateways lose their sessions at once, and come back without a storm."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from demo.mailserver.process import ServerProcess
from reconciler.model import StatusState
from reconciler.service.sessions import session_for
from reconciler.service.sessions.base import MailSession
from reconciler.service.supervisor.facts import Waiting
from tests.service.supervisor.stage import SECONDS, Stage, gateway_on, staged, until
from tests.service.supervisor.virtual import (
    SimulatedHost,
    busiest,
    mailbox,
    simulated,
    virtually,
)

PER_SECOND = 50
COUNT = 300
SLACK = 0.2 * 10_000 / PER_SECOND
"""Seconds beyond the least possible: of 10,000 gateways a fifth; the same for any number."""


async def until_states(stage: Stage, wanted: dict[StatusState, int]) -> None:
    async with asyncio.timeout(SECONDS):
        while await states(stage) != wanted:  # noqa: ASYNC110 - it is read, not told
            await asyncio.sleep(0.01)


async def states(stage: Stage) -> Counter[StatusState]:
    return Counter(actual.status.state for actual in await stage.all())


@pytest.mark.parametrize(("outage", "silent"), [(10, False), (60, True), (600, False)])
def test_all_are_back_soon_after_an_outage(
    memory_folder: Path,
    outage: float,
    silent: bool,  # noqa: FBT001 - a case
) -> None:
    """G11: at most 50 connections in any second, before, during and after it.

    While it lasts one gateway tries for all of them, and all say why they have no session.
    """

    async def main() -> None:
        loop, host = asyncio.get_running_loop(), SimulatedHost(silent=silent)
        async with simulated(memory_folder, host) as stage:
            await stage.create_all(map(mailbox, range(COUNT)))
            await until(lambda: host.open == COUNT, seconds=300, every=0.1)
            await asyncio.sleep(600)
            before = len(host.connections)
            end = host.fail_for(outage)
            await asyncio.sleep(outage - 0.01)
            tried = len(host.connections) - before
            assert tried <= 110 + outage / 5
            if outage >= 60:
                assert await states(stage) == {StatusState.FAILED: COUNT}
                assert stage.supervisor.counts().waiting == COUNT
                facts = stage.supervisor.facts(stage.tenant, "gateway-00000")
                assert facts
                assert facts.waiting is Waiting.HOST
            await until(lambda: host.open == COUNT, seconds=300, every=0.1)
            assert loop.time() - end <= COUNT / PER_SECOND + SLACK
            await asyncio.sleep(1)
            assert await states(stage) == {StatusState.SUCCEEDED: COUNT}
        assert busiest(host.connections) <= PER_SECOND

    virtually(main())


def test_sessions_that_end_again_and_again_are_opened_ever_more_seldom(memory_folder: Path) -> None:
    """G11: the back-off begins anew only after five minutes of a stable session."""

    async def main() -> None:
        loop, host = asyncio.get_running_loop(), SimulatedHost()
        async with simulated(memory_folder, host) as stage:
            await stage.create_all(map(mailbox, range(20)))
            began = loop.time()
            while loop.time() - began < 3_600:
                await asyncio.sleep(1)
                host.drop()
            hour = len(host.connections)
            # 1, 2, 4 … seconds at most, then 300: half of that on average
            assert 20 * 15 <= hour <= 20 * 60
            await until(lambda: host.open == 20, seconds=400, every=1)
            await asyncio.sleep(310)
            host.drop()
            await asyncio.sleep(2)
            assert host.open == 20

    virtually(main())


async def test_a_real_server_is_restarted(tmp_path: Path) -> None:
    """G11: over real connections; a gateway elsewhere notices nothing."""
    count = 60
    users = {f"mailbox-{number}@example.com": "password" for number in range(count)}
    loop, moments = asyncio.get_running_loop(), list[float]()

    def recorded(*given: Any) -> MailSession:
        session = session_for(*given)
        connect = session.wire.connect

        async def noted() -> str:
            moments.append(loop.time())
            return await connect()

        session.wire.connect = noted  # type: ignore[method-assign]
        return session

    with (
        ServerProcess(tmp_path / "mail", users, seconds=100) as server,
        ServerProcess(tmp_path / "other", users, seconds=100) as other,
    ):
        async with staged(tmp_path, sessions=recorded) as stage:
            elsewhere = gateway_on(other, "elsewhere", user_id="mailbox-1@example.com")
            before = await stage.connected(elsewhere, "password")
            await stage.create_all(
                (gateway_on(server, f"gateway-{number}", user_id=user), "password")
                for number, user in enumerate(users)
            )
            await until(lambda: server.counters()["open"] == count, every=0.2)
            server.stop()
            server.start()
            await until(lambda: server.counters()["open"] == count, seconds=60, every=0.2)
            assert len(moments) > 2 * count
            assert busiest(moments) <= PER_SECOND
            assert await stage.read("elsewhere") == before
            assert other.counters()["connections"] == 1
            await until_states(stage, {StatusState.SUCCEEDED: count + 1})
