"""A login that is refused is tried three times in all, unless it is the server that is at fault."""

import asyncio
import random
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo.mailserver import Faults, MailServer
from demo.mailserver.process import CHECKOUT
from reconciler.model import FailureKind, ProtocolType, State, StatusState
from reconciler.service.supervisor import backoff
from reconciler.service.supervisor.facts import Waiting
from reconciler.service.supervisor.settings import SupervisorSettings
from tests.rig.gateways import IMAP, POP3, SMTP
from tests.service.supervisor.stage import PASSWORD, TENANT, USER, Stage, gateway_on, staged, until
from tests.service.supervisor.virtual import (
    SimulatedHost,
    busiest,
    mailbox,
    simulated,
    virtually,
)

SUCCEEDED, FAILED = StatusState.SUCCEEDED, StatusState.FAILED
IMPATIENT = SupervisorSettings(refused=0.02)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer({USER: PASSWORD}) as running:
        yield running


def waiting(stage: Stage, name: str = "support") -> Waiting | None:
    facts = stage.supervisor.facts(TENANT, name)
    return facts.waiting if facts else None


@pytest.mark.parametrize("protocol", ProtocolType)
async def test_it_is_parked_after_three(
    tmp_path: Path, server: MailServer, protocol: ProtocolType, caplog: pytest.LogCaptureFixture
) -> None:
    """G12: and tried again at once when the password changes."""
    async with staged(tmp_path, pacing=IMPATIENT) as stage:
        await stage.create(gateway_on(server, "support", protocol), "wrong")
        failed = await stage.settled()
        assert failed.status.failure
        assert (failed.status.failure.kind, failed.status.failure.field) == (
            FailureKind.AUTH,
            "user_password",
        )
        await until(lambda: waiting(stage) is Waiting.PARKED)
        await asyncio.sleep(0.3)
        assert server.counters.logins_refused == server.counters.connections == 3
        failure = (await stage.read()).status.failure
        assert failure
        assert "gateways rebuild support --force" in failure.hint
        assert "refused this user and password 3 times" in caplog.text
        await stage.edit(gateway_on(server, "support", protocol))
        assert (await stage.settled()).status.state is SUCCEEDED
        assert server.counters.logins_refused == 3


async def test_not_even_restarts_make_it_more(tmp_path: Path, server: MailServer) -> None:
    """G12, A42: three in all, though each of twenty processes begins anew."""
    ends = (Waiting.PARKED, Waiting.REFUSED)
    for attempt in range(20):
        async with staged(tmp_path, pacing=SupervisorSettings(refused=0.1)) as stage:
            if attempt == 0:
                await stage.create(gateway_on(server), "wrong")
            before = server.counters.logins_refused
            await until(
                lambda running=stage, before=before: (  # type: ignore[misc]
                    waiting(running) is Waiting.PARKED or server.counters.logins_refused > before
                )
            )
            await until(lambda running=stage: waiting(running) in ends)  # type: ignore[misc]
    assert server.counters.logins_refused == 3


KEEPER = """
    import asyncio, pathlib, sys
    from tests.service.supervisor.stage import TENANT, staged
    from reconciler.service.supervisor.facts import Waiting

    async def main(folder):
        async with staged(folder) as stage:
            while True:
                facts = stage.supervisor.facts(TENANT, "support")
                if facts and facts.waiting is Waiting.PARKED:
                    print("parked", flush=True)
                await asyncio.sleep(0.01)

    asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


async def test_not_even_processes_that_are_killed_make_it_more(
    tmp_path: Path, server: MailServer
) -> None:
    """G12, A42: each at the moment when the server has refused, and nobody knows it yet."""
    async with staged(tmp_path) as stage:
        await stage.create(gateway_on(server, state=State.DISCONNECTED), "wrong")
        server.faults = Faults(silent=True)
        await stage.edit(gateway_on(server), "wrong")
    server.faults = Faults(refusal_seconds=20)
    said = b""
    for _ in range(5):
        before = server.counters.logins_refused
        keeper = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            textwrap.dedent(KEEPER),
            str(tmp_path),
            cwd=CHECKOUT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert keeper.stdout
        parked = asyncio.create_task(keeper.stdout.readline())
        try:
            await until(
                lambda before=before, parked=parked: (  # type: ignore[misc]
                    server.counters.logins_refused > before or parked.done()
                )
            )
        finally:
            keeper.kill()
            await keeper.wait()
            said = await parked
    assert said == b"parked\n"
    assert server.counters.logins_refused == 3


def test_between_refusals_there_are_minutes(memory_folder: Path) -> None:
    """G12: so that no account is locked by being tried too fast; a restart changes nothing."""

    async def main() -> None:
        loop, host = asyncio.get_running_loop(), SimulatedHost()
        host.accepts = lambda *_: False
        began = loop.time()
        for hours in (0.01, 0.01, 2):
            async with simulated(memory_folder, host) as stage:
                if not host.connections:
                    await stage.create_all([mailbox(1)])
                await asyncio.sleep(hours * 3_600)
        moments = [moment - began for moment in host.connections]
        assert len(moments) == 3
        assert moments[0] < 1
        assert 372 < moments[1] < 672
        assert 300 <= moments[2] - moments[1] <= 600

    virtually(main())


async def test_gateways_that_share_a_login_share_its_three_attempts(
    tmp_path: Path, server: MailServer
) -> None:
    """A42: they take turns, and what the first is told holds for the others."""
    async with staged(tmp_path, pacing=IMPATIENT) as stage:
        names = [f"gateway-{number}" for number in range(9)]
        await stage.create_all(
            (gateway_on(server, name, protocol), "wrong")
            for name, protocol in zip(names, (SMTP, IMAP, POP3) * 3, strict=True)
        )
        for name in names:
            assert (await stage.settled(name)).status.state is FAILED
        await until(lambda: all(waiting(stage, name) is Waiting.PARKED for name in names))
        assert server.counters.logins_refused == 3


async def test_by_force_it_is_tried_once_more_and_helps_the_others(
    tmp_path: Path, server: MailServer
) -> None:
    """G12: after an outage in which the server refused good passwords."""
    async with staged(tmp_path, pacing=IMPATIENT) as stage:
        server.faults = Faults(refuse_logins=True)
        for name in ("support", "twin"):
            await stage.create(gateway_on(server, name))
        await until(lambda: waiting(stage) is waiting(stage, "twin") is Waiting.PARKED)
        await stage.rebuild()
        assert (await stage.settled()).status.state is FAILED
        assert server.counters.logins_refused == 3
        await stage.rebuild(force=True)
        assert (await stage.settled()).status.state is FAILED
        assert server.counters.logins_refused == 4
        server.faults = Faults()
        await stage.rebuild()
        assert (await stage.settled()).status.state is FAILED
        await stage.rebuild(force=True)
        assert (await stage.settled()).status.state is SUCCEEDED
        assert (await stage.becomes(SUCCEEDED, "twin")).status.failure is None
        assert server.counters.logins_refused == 4


async def test_a_login_that_works_elsewhere_keeps_its_last_attempt(
    tmp_path: Path, server: MailServer
) -> None:
    """G12: a provider may refuse SMTP to a user whose IMAP works; that must not end his IMAP."""
    async with MailServer({}) as refusing, staged(tmp_path, pacing=IMPATIENT) as stage:
        await stage.connected(gateway_on(server, "in"))
        await stage.create(gateway_on(refusing, "out", SMTP))
        await until(lambda: waiting(stage, "out") is Waiting.PARKED)
        assert refusing.counters.logins_refused == 2
        await server.drop_sessions()
        await until(lambda: server.counters.logins_ok == 2)
        assert (await stage.becomes(SUCCEEDED, "in")).status.failure is None


async def test_a_person_may_ask_for_the_attempt_that_is_kept(
    tmp_path: Path, server: MailServer
) -> None:
    """G12: a rebuild uses it up; after that only force helps."""
    async with MailServer({}) as refusing, staged(tmp_path, pacing=IMPATIENT) as stage:
        await stage.connected(gateway_on(server, "in"))
        await stage.create(gateway_on(refusing, "out", SMTP))
        await until(lambda: waiting(stage, "out") is Waiting.PARKED)
        for _ in range(2):
            await stage.rebuild("out")
            assert (await stage.settled("out")).status.state is FAILED
            assert refusing.counters.logins_refused == 3
        await stage.rebuild("out", force=True)
        assert (await stage.settled("out")).status.state is FAILED
        assert refusing.counters.logins_refused == 4


async def test_pressing_rebuild_again_and_again_parks_no_good_login(
    tmp_path: Path, server: MailServer
) -> None:
    """G12: a login under way is waited for, since what becomes of it counts."""
    server.faults = Faults(seconds_per_byte=0.002)
    async with staged(tmp_path) as stage:
        await stage.create(gateway_on(server))
        for _ in range(12):
            await asyncio.sleep(random.uniform(0, 0.25))  # noqa: S311 - a case
            await stage.rebuild()
        assert (await stage.settled()).status.state is SUCCEEDED
        refused = await stage.service.look(
            lambda connection: connection.execute("SELECT sum(logins) FROM refusals").fetchone()
        )
        assert refused == (None,)


async def test_a_changed_password_is_tried_once_and_the_old_one_never_again(
    tmp_path: Path, server: MailServer
) -> None:
    """G39: the old session ends first; if the new one is wrong that is told, and it stays."""
    async with staged(tmp_path) as stage:
        gateway = gateway_on(server)
        await stage.connected(gateway)
        server.accounts[USER] = "changed"
        await stage.edit(gateway, "changed")
        async with asyncio.timeout(10):
            assert (await stage.settled()).status.state is SUCCEEDED
        counters = server.counters
        assert (counters.logins_ok, counters.logins_refused, counters.open) == (2, 0, 1)
        await stage.edit(gateway, "mistyped")
        assert (await stage.settled()).status.state is FAILED
        await until(lambda: server.counters.open == 0)
        assert (counters.logins_ok, counters.logins_refused) == (2, 1)
        assert waiting(stage) is Waiting.REFUSED


def test_a_server_that_refuses_many_good_logins_is_at_fault_itself(memory_folder: Path) -> None:
    """G13: nobody is parked; one gateway tries for all, slowly, and then all are back."""
    count = 100

    async def main() -> None:
        loop, host = asyncio.get_running_loop(), SimulatedHost()
        async with simulated(memory_folder, host) as stage:
            await stage.create_all(map(mailbox, range(count)))
            await until(lambda: host.open == count, every=0.1)
            host.accepts = lambda *_: False
            host.drop()
            began = loop.time()
            await asyncio.sleep(5 * 3_600)
            assert len(host.refused) < 0.2 * count + 20 + 8  # those under way, and then one an hour
            assert Counter(host.refused).most_common(1)[0][1] <= 2
            failures = [actual.status.failure for actual in await stage.all()]
            assert {failure and failure.field for failure in failures} == {"host"}
            assert Waiting.PARKED not in {
                waiting(stage, mailbox(one)[0].name) for one in range(count)
            }
            refused = await stage.service.look(
                lambda connection: connection.execute("SELECT sum(logins) FROM refusals").fetchone()
            )
            assert refused == (None,)
            host.accepts = lambda *_: True
            await until(lambda: host.open == count, seconds=3_700, every=1)
            assert loop.time() - began < 6.1 * 3_600

    virtually(main())


def test_a_few_wrong_passwords_are_no_fault_of_the_server(memory_folder: Path) -> None:
    """G13: nor are many that never worked."""
    count = 40

    async def main() -> None:
        host = SimulatedHost()
        changed = {mailbox(number)[0].user_id for number in range(8)}
        async with simulated(memory_folder, host) as stage:
            await stage.create_all(map(mailbox, range(count)))
            await until(lambda: host.open == count, every=0.1)
            host.accepts = lambda gateway, password: (
                gateway.user_id not in changed and password == "password"
            )
            host.drop()
            await stage.create_all((mailbox(100 + number)[0], "wrong") for number in range(40))
            await until(lambda: host.open == count - len(changed), seconds=60, every=0.1)
            await asyncio.sleep(3_600)
            assert set(Counter(host.refused).values()) == {3}
            assert len(host.refused) == 3 * (len(changed) + 40)

    virtually(main())


def test_more_sessions_than_the_server_grants_one_user(memory_folder: Path) -> None:
    """G14: those that have one keep it, the others wait without a storm, and none is parked."""

    async def main() -> None:
        host = SimulatedHost(sessions_of_one_user=10)
        async with simulated(memory_folder, host) as stage:
            shared = [replace(mailbox(number)[0], user_id="shared") for number in range(14)]
            await stage.create_all((gateway, "password") for gateway in shared)
            await asyncio.sleep(3_600)
            assert host.open == 10
            assert len(host.connections) <= 80  # one of the four at a time, ever more slowly
            kinds = Counter(
                actual.status.failure and actual.status.failure.kind for actual in await stage.all()
            )
            assert kinds == {None: 10, FailureKind.BUSY: 4}
            await stage.disconnect(
                next(
                    actual.gateway.name for actual in await stage.all() if not actual.status.failure
                )
            )
            await asyncio.sleep(310)
            assert host.open == 10
            assert busiest(host.connections) <= 50

    virtually(main())


async def test_two_gateways_on_one_maildrop(
    tmp_path: Path, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G14: the second is told that it is in use, and has it once the first has gone."""
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.1)
    async with staged(tmp_path) as stage:
        await stage.connected(gateway_on(server, "first", POP3))
        await stage.create(gateway_on(server, "second", POP3))
        failure = await stage.failure(FailureKind.BUSY, "second")
        assert "[IN-USE]" in failure.message
        await until(lambda: waiting(stage, "second") is Waiting.LIMIT)
        await stage.disconnect("first")
        assert (await stage.becomes(SUCCEEDED, "second")).status.failure is None
