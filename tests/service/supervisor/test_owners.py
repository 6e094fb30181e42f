"""Who may write: operators at any moment, and one process at a time."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from demo.mailserver import MailServer
from demo.mailserver.process import CHECKOUT, ServerProcess
from reconciler.errors import PlatformUnavailable
from reconciler.model import StatusState
from reconciler.service import work
from reconciler.service.service import Service
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.service.work import Held
from tests.service.supervisor.stage import (
    PASSWORD,
    SECONDS,
    SETTINGS,
    USER,
    Stage,
    gateway_on,
    staged,
    until,
)
from tests.service.supervisor.virtual import SimulatedHost, hold, mailbox, simulated, virtually

SUCCEEDED, DISCONNECTED = StatusState.SUCCEEDED, StatusState.DISCONNECTED


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer({USER: PASSWORD}) as running:
        yield running


class Busy:
    """A work that is always in the middle of something, and needs a moment to stop."""

    def __init__(self) -> None:
        self.under_way: defaultdict[str, int] = defaultdict(int)
        self.most = 0
        self.begun = self.ended = 0

    async def __call__(self, held: Held) -> float:
        self.under_way[held.name] += 1
        self.most = max(self.most, self.under_way[held.name])
        self.begun += 1
        try:
            return await hold(held)
        finally:
            try:
                await asyncio.sleep(0.5)  # longer than it takes to connect
            finally:
                self.under_way[held.name] -= 1
                self.ended += 1


NAMES = tuple(mailbox(number)[0].name for number in range(12))


async def press(button: str, name: str, stage: Stage, host: SimulatedHost) -> None:
    gateway, password = mailbox(NAMES.index(name))
    match button:
        case "rebuild":
            await stage.rebuild(name)
        case "disconnect":
            await stage.disconnect(name)
        case "edit" | "message":
            await stage.edit(gateway, password, reconnect=button == "edit")
        case "drop":
            host.drop()
        case _:
            host.fail_for(0.5)


@pytest.mark.parametrize("seed", range(3))
def test_operators_may_press_any_button_at_any_moment(
    memory_folder: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """G40: work under way ends in order, never two sessions at once, and the last word holds."""
    chance = random.Random(seed)  # noqa: S311 - a case
    buttons = ("rebuild", "disconnect", "edit", "message", "drop", "restart")

    async def main() -> None:
        host, busy = SimulatedHost(sessions_of_one_user=1), Busy()
        async with simulated(memory_folder, host, busy) as stage:
            await stage.create_all(map(mailbox, range(len(NAMES))))
            for _ in range(700):
                await press(chance.choice(buttons), chance.choice(NAMES), stage, host)
                await asyncio.sleep(chance.choice((0, 0, 0.001, 0.05, 0.2, 1)))
            await asyncio.sleep(700)
            everything = await stage.all()
            wanted = {
                actual.gateway.name: actual.status.state is not DISCONNECTED
                for actual in everything
            }
            assert {name: busy.under_way[name] == 1 for name in NAMES} == wanted
            assert host.open == sum(wanted.values())
            states = {actual.status.state for actual in everything}
            assert states <= {SUCCEEDED, DISCONNECTED}
        assert (host.too_many, busy.most, busy.begun) == ([], 1, busy.ended)
        assert host.open == 0

    virtually(main())
    assert "a fault of this program" not in caplog.text


async def test_who_was_taken_over_writes_nothing_more_and_leaves(
    tmp_path: Path, server: MailServer
) -> None:
    """G30: it looks from time to time, even where nothing is to be written."""
    async with Service(tmp_path / "platform.db", SETTINGS, environment={}) as service:
        supervisor = Supervisor(service, settings=SupervisorSettings(watch=0.2))
        running = asyncio.create_task(supervisor.run())
        before = await Stage(service, supervisor).connected(gateway_on(server))
        await service.write(
            lambda connection: connection.execute("UPDATE epochs SET epoch = epoch + 1")
        )
        await asyncio.wait([running], timeout=SECONDS)
        with pytest.raises(PlatformUnavailable, match="another service has taken it over"):
            await running
        assert service.fatal.is_set()
        await until(lambda: server.counters.open == 0)
        assert await Stage(service, supervisor).read() == before
        assert server.counters.connections == 1


async def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G31: an hour forth and two back; a moment is only ever shown."""
    monkeypatch.setattr(work, "KEEP_ALIVE_SECONDS", 0.02)
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    async with staged(tmp_path, clock=lambda: moment) as stage:
        await stage.connected(gateway_on(server))
        for hours in (1, -2, 1):
            moment += timedelta(hours=hours)
            await asyncio.sleep(0.1)
            assert server.counters.connections == server.counters.open == 1
        moment -= timedelta(hours=5)
        await server.drop_sessions()
        await until(lambda: server.counters.logins_ok == 2)
        actual = await stage.becomes(SUCCEEDED)
        assert actual.status.since.startswith("2026-01-01T07:00")


KEEPER = """
    import asyncio, pathlib, signal, sys
    from demo.mailserver.process import ServerProcess
    from reconciler.service import work
    from tests.service.supervisor.stage import PASSWORD, USER, gateway_on, staged

    work.KEEP_ALIVE_SECONDS = 0.1

    async def main(folder):
        server = ServerProcess(folder / "mail", {USER: PASSWORD})
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        async with staged(folder) as stage:
            await stage.connected(gateway_on(server))
            print("connected", flush=True)
            await ended.wait()

    asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


async def test_a_process_that_was_suspended_goes_on(tmp_path: Path) -> None:
    """G31: as a machine that slept; what was lost meanwhile is opened again."""
    with ServerProcess(tmp_path / "mail", {USER: PASSWORD}, seconds=60) as server:
        command = [sys.executable, "-c", textwrap.dedent(KEEPER), str(tmp_path)]
        with subprocess.Popen(  # noqa: ASYNC220 - it is only waited for by its first line
            command, cwd=CHECKOUT, stdout=subprocess.PIPE
        ) as keeper:
            try:
                assert keeper.stdout
                assert keeper.stdout.readline() == b"connected\n"
                for lost in (False, True):
                    os.kill(keeper.pid, signal.SIGSTOP)
                    await asyncio.sleep(0.5)
                    if lost:
                        server.stop()
                        server.start()
                    await asyncio.sleep(0.5)
                    os.kill(keeper.pid, signal.SIGCONT)
                    await until(lambda: server.counters()["open"] == 1)
                keeper.terminate()
                assert keeper.wait(SECONDS) == 0
            finally:
                keeper.kill()
        await until(lambda: server.counters()["open"] == 0)
