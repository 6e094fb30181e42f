"""A gateway's session is opened, kept, opened again and ended as its gateway and server ask."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from demo.mailserver import Faults, MailServer
from reconciler.errors import NotThere
from reconciler.model import EncryptionMode, FailureKind, ProtocolType, Secret, State, StatusState
from reconciler.service import batches, work
from reconciler.service.feed import About, Listener
from reconciler.service.service import Service
from reconciler.service.sessions import SessionError
from reconciler.service.supervisor import backoff
from reconciler.service.supervisor.assignment import Assigned
from reconciler.service.supervisor.facts import Facts, Waiting
from reconciler.service.supervisor.ledger import Key
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.service.work import Held, Work
from tests.rig.gateways import EVERY_WAY, IMAP, NONE, POP3, SMTP
from tests.rig.tap import tapped
from tests.service.supervisor.stage import (
    PASSWORD,
    SECONDS,
    SETTINGS,
    TENANT,
    USER,
    Stage,
    gateway_on,
    staged,
    until,
)

CONNECTING, SUCCEEDED = StatusState.CONNECTING, StatusState.SUCCEEDED
FAILED, DISCONNECTED = StatusState.FAILED, StatusState.DISCONNECTED


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    accounts = {f"mailbox-{number}@example.com": PASSWORD for number in range(20)}
    async with MailServer({USER: PASSWORD, **accounts}) as running:
        yield running


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as running:
        yield running


class Works:
    """A work that does nothing, and writes down what it was given and when it was cancelled."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self.now: set[str] = set()
        self.cancelled = 0
        self.woken = 0

    async def __call__(self, held: Held) -> float:
        assert held.name not in self.now, "two at once"
        self.now.add(held.name)
        self.held.append(held)
        try:
            while True:
                await held.wake.wait()
                held.wake.clear()
                self.woken += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            await asyncio.sleep(0)
            raise
        finally:
            self.now.remove(held.name)


def same(one: Work) -> dict[ProtocolType, Work]:
    return dict.fromkeys(ProtocolType, one)


@contextmanager
def statuses(stage: Stage) -> Iterator[Listener]:
    """Everything that is told of statuses from now on."""
    with stage.service.feed.listen(About.STATUS) as listener:
        yield listener


def facts(stage: Stage, name: str = "support") -> Facts:
    found = stage.supervisor.facts(TENANT, name)
    assert found
    return found


@pytest.mark.parametrize("way", EVERY_WAY, ids="-".join)
async def test_a_session_is_opened_and_kept(
    way: tuple[ProtocolType, EncryptionMode], stage: Stage, server: MailServer
) -> None:
    actual = await stage.connected(gateway_on(server, "support", *way))
    assert server.counters.open == server.counters.logins_ok == 1
    known = facts(stage)
    assert known.open_since
    assert (known.certificate_expires is None) is (way[1] is NONE)
    assert (known.reconnects, known.next_attempt_at, known.waiting) == (0, None, None)
    counts = stage.supervisor.counts()
    assert counts.sessions == {(way[0], SUCCEEDED): 1}
    assert (counts.reconnects, counts.failures, counts.waiting) == (0, {}, 0)
    assert await stage.read() == actual
    await stage.disconnect()
    await until(lambda: server.counters.open == 0)
    assert facts(stage) == Facts(certificate_expires=known.certificate_expires)


async def test_a_gateway_of_before_is_connected_at_the_start(
    tmp_path: Path, server: MailServer
) -> None:
    """Its status stays as it was meanwhile: nothing is known to be wrong."""
    async with staged(tmp_path) as stage:
        before = await stage.connected(gateway_on(server))
    assert server.counters.open == 0
    async with staged(tmp_path) as stage:
        await until(lambda: server.counters.open == 1)
        assert await stage.settled() == before == await stage.read()


async def test_what_is_disconnected_is_left_alone(tmp_path: Path, server: MailServer) -> None:
    async with staged(tmp_path) as stage:
        await stage.create(gateway_on(server, state=State.DISCONNECTED))
        await stage.connected(gateway_on(server, "by-hand"))
        await stage.disconnect("by-hand")
        assert (await stage.settled()).status.state is DISCONNECTED
    async with staged(tmp_path) as stage:
        await stage.connected(gateway_on(server, "other"))
        assert server.counters.connections == 2
        assert facts(stage).waiting is None


async def test_a_changed_message_field_is_given_to_the_work(
    tmp_path: Path, server: MailServer
) -> None:
    """The session stays."""
    works = Works()
    async with staged(tmp_path, same(works)) as stage:
        await stage.connected(gateway_on(server))
        await stage.edit(gateway_on(server, default_user_name="Support"), reconnect=False)
        await until(lambda: works.woken == 1)
        assert works.held[0].actual == await stage.read()
        assert works.held[0].actual.gateway.default_user_name == "Support"
        assert len(works.held) == server.counters.connections == 1


async def test_a_message_to_be_sent_wakes_its_gateway(tmp_path: Path, server: MailServer) -> None:
    works = Works()
    async with staged(tmp_path, same(works)) as stage:
        await stage.connected(gateway_on(server))
        await stage.connected(gateway_on(server, "other"))
        stage.service.feed.tell(About.OUTBOX, TENANT, "other")
        stage.service.feed.tell(About.OUTBOX, "another tenant", "support")
        stage.service.feed.tell(About.OUTBOX, TENANT, "no such gateway")
        await until(lambda: works.woken == 1)
        assert not works.held[0].wake.is_set()


@pytest.mark.parametrize("protocol", ProtocolType)
async def test_a_rebuild_ends_the_session_before_it_opens_another(
    tmp_path: Path, server: MailServer, protocol: ProtocolType
) -> None:
    """POP3 would refuse a second session on the maildrop."""
    works = Works()
    async with staged(tmp_path, same(works)) as stage:
        await stage.connected(gateway_on(server, "support", protocol))
        for number in range(2, 6):
            assert (await stage.rebuild()).status.state is CONNECTING
            assert (await stage.settled()).status.state is SUCCEEDED
            assert server.counters.open == 1
            assert server.counters.logins_ok == number
        assert works.cancelled == 4


async def test_a_lost_session_is_opened_again(stage: Stage, server: MailServer) -> None:
    """G10: noticed at once, told as connecting, and `since` begins anew."""
    before = await stage.connected(gateway_on(server))
    seen: list[StatusState] = []
    with statuses(stage) as listener:
        await server.drop_sessions()
        while not seen or seen[-1] is not SUCCEEDED:
            async with asyncio.timeout(SECONDS):
                await listener.next()
            seen.append((await stage.read()).status.state)
    assert seen[-2:] in ([CONNECTING, SUCCEEDED], [SUCCEEDED])
    assert (await stage.read()).revision == before.revision
    assert facts(stage).reconnects == stage.supervisor.counts().reconnects == 1


async def test_if_the_first_attempt_after_a_loss_fails_the_status_says_so(
    stage: Stage, server: MailServer
) -> None:
    await stage.connected(gateway_on(server))
    await server.stop()
    failed = await stage.becomes(FAILED)
    assert failed.status.failure
    assert failed.status.failure.kind is FailureKind.TCP
    await until(lambda: facts(stage).waiting is Waiting.HOST)
    assert facts(stage).open_since is None
    since = failed.status.since
    await server.start()
    assert (await stage.becomes(SUCCEEDED)).status.since >= since


async def test_keeping_alive_writes_nothing(
    tmp_path: Path, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "KEEP_ALIVE_SECONDS", 0.01)
    async with staged(tmp_path) as stage:
        before = await stage.connected(gateway_on(server))
        changes = await stage.service.look(lambda connection: connection.total_changes)
        await asyncio.sleep(0.5)
        assert await stage.read() == before
        assert changes == await stage.service.look(lambda connection: connection.total_changes)
        assert server.counters.connections == 1


async def test_an_idle_smtp_session_that_the_server_closes_is_no_fault(
    stage: Stage, server: MailServer
) -> None:
    """G10: no status flaps, the server is not stormed, and a message does not wait."""
    server.faults = Faults(idle_seconds=0.05)
    await stage.connected(gateway_on(server, "support", SMTP))
    with statuses(stage) as listener:
        await until(lambda: server.counters.connections >= 3)
        await asyncio.sleep(0.5)
        assert server.counters.connections <= 30
        server.faults = Faults()
        await until(lambda: facts(stage).waiting is Waiting.CLOSED or server.counters.open == 1)
        stage.service.feed.tell(About.OUTBOX, TENANT, "support")
        await until(lambda: server.counters.open == 1, seconds=0.9)
        assert listener.rest() == ()


async def test_a_planned_end_of_a_session_changes_no_status(
    tmp_path: Path, server: MailServer
) -> None:
    """As of POP3, which is closed after each look."""

    async def look(held: Held) -> float:
        await held.session.keep_alive()
        return 0.05

    async with staged(tmp_path, same(look)) as stage:
        await stage.connected(gateway_on(server, "support", POP3))
        with statuses(stage) as listener:
            await until(lambda: server.counters.logins_ok >= 5)
            assert listener.rest() == ()
        await until(lambda: facts(stage).waiting is Waiting.PLANNED)
        assert facts(stage).reconnects == 0
        await server.stop()
        assert (await stage.becomes(FAILED)).status.failure


async def test_a_server_that_is_busy_is_asked_again_before_the_status_says_so(
    stage: Stage, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.05)
    server.faults = Faults(busy_logins=True)
    await stage.create(gateway_on(server))
    failure = (await stage.settled()).status.failure
    assert failure
    assert failure.kind is FailureKind.BUSY
    assert server.counters.logins_busy == 3
    server.faults = Faults()
    assert (await stage.becomes(SUCCEEDED)).status.failure is None


async def test_a_fault_of_ours_in_one_work_is_not_the_end_of_all(
    tmp_path: Path, server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told without a word of what it may quote."""
    faulty = True
    works = Works()

    async def stumble(held: Held) -> float:
        if held.name == "support" and faulty:
            raise ValueError(PASSWORD, Secret(PASSWORD).reveal())
        return await works(held)

    with caplog.at_level(logging.DEBUG):
        async with staged(tmp_path, same(stumble)) as stage:
            await stage.connected(gateway_on(server, "other"))
            await stage.create(gateway_on(server))
            failure = await stage.failure(FailureKind.PROTOCOL)
            assert failure.message == "a fault of this program: ValueError in stumble"
            assert server.counters.open == 1
            assert "other" in works.now
            faulty = False
            await stage.becomes(SUCCEEDED)
    assert "ValueError in stumble" in caplog.text
    assert PASSWORD not in caplog.text


async def test_no_connection_is_made_without_the_key(tmp_path: Path, server: MailServer) -> None:
    """Nor for gateways that need no password; it begins once the key is there."""
    async with staged(tmp_path) as stage:
        await stage.connected(gateway_on(server))
        anonymous = gateway_on(server, "anonymous", SMTP, authentication_flag=False)
        await stage.connected(anonymous)
    made = server.counters.connections
    key = tmp_path / "platform.db.key"
    text = key.read_bytes()
    key.unlink()
    pacing = SupervisorSettings(watch=0.05)
    async with staged(tmp_path, pacing=pacing) as stage:
        await until(lambda: stage.supervisor.facts(TENANT, "support") is not None)
        await asyncio.sleep(0.3)
        assert server.counters.connections == made
        assert facts(stage).waiting is facts(stage, "anonymous").waiting is Waiting.SEALED
        key.touch(mode=0o600)
        key.write_bytes(text)
        await until(lambda: server.counters.open == 2)


async def test_a_row_that_somebody_altered_keeps_no_other_from_its_session(
    tmp_path: Path, server: MailServer
) -> None:
    async with staged(tmp_path) as stage:
        for name in ("support", "other"):
            await stage.connected(gateway_on(server, name))
        await stage.service.write(
            lambda connection: connection.execute(
                "UPDATE gateways SET protocol_type = 'FAX' WHERE name = 'support'"
            )
        )
    async with staged(tmp_path) as stage:
        await until(lambda: server.counters.logins_ok == 3)
        await until(lambda: facts(stage, "other").open_since is not None)


async def test_a_status_that_cannot_be_stored_is_stored_later(
    tmp_path: Path, server: MailServer
) -> None:
    """G24: the session is kept meanwhile."""
    async with staged(tmp_path, pacing=SupervisorSettings(watch=0.1)) as stage:
        await stage.connected(gateway_on(server))
        await server.stop()
        failed = await stage.becomes(FAILED)
        await stage.service.look(lambda connection: connection.execute("PRAGMA query_only = ON"))
        await server.start()
        await until(lambda: facts(stage).open_since is not None)
        await asyncio.sleep(0.3)
        assert await stage.read() == failed
        await stage.service.look(lambda connection: connection.execute("PRAGMA query_only = OFF"))
        await stage.becomes(SUCCEEDED)
        assert (server.counters.logins_ok, server.counters.open) == (2, 1)


async def test_settled_does_not_wait_for_ever(stage: Stage, server: MailServer) -> None:
    """What it says then is stored nowhere."""
    server.faults = Faults(silent=True)
    created = await stage.create(gateway_on(server))
    failure = (await stage.settled(seconds=0.1)).status.failure
    assert failure
    assert (failure.kind, failure.field) == (FailureKind.TIMEOUT, "host")
    assert await stage.read() == created
    with pytest.raises(NotThere):
        await stage.settled("nobody")


class Given:
    """An assignment that a test decides."""

    def __init__(self) -> None:
        self.changed: asyncio.Queue[Assigned] = asyncio.Queue()

    async def changes(self) -> AsyncIterator[Assigned]:
        while True:
            yield await self.changed.get()


async def test_only_what_is_assigned_is_kept(tmp_path: Path, server: MailServer) -> None:
    """Something else may share gateways out, and take them back."""
    given = Given()
    async with staged(tmp_path, assignment=given) as stage:
        names = ("a", "b", "c")
        for name in names:
            await stage.create(gateway_on(server, name))
        given.changed.put_nowait(Assigned((Key(TENANT, "a"), Key(TENANT, "b"))))
        assert (await stage.settled("a")).status.state is SUCCEEDED
        assert (await stage.settled("b")).status.state is SUCCEEDED
        assert (await stage.read("c")).status.state is CONNECTING
        assert stage.supervisor.facts(TENANT, "c") is None
        given.changed.put_nowait(Assigned((Key(TENANT, "a"),), ours=False))
        await until(lambda: server.counters.open == 1)
        await stage.rebuild("a")
        given.changed.put_nowait(Assigned((Key(TENANT, "c"), Key(TENANT, "no such gateway"))))
        assert (await stage.settled("c")).status.state is SUCCEEDED
        assert (await stage.read("a")).status.state is CONNECTING
        assert server.counters.open == 2


async def test_more_sessions_for_a_long_queue(tmp_path: Path, server: MailServer) -> None:
    """Counted, closed after use, and no more than the settings allow."""
    refused: list[SessionError] = []
    most: list[int] = []

    async def send(held: Held) -> float:
        async def one() -> None:
            try:
                async with held.another() as session:
                    await session.keep_alive()
                    await asyncio.sleep(0.3)
                    most.append(server.counters.open)
            except SessionError as error:
                refused.append(error)

        await asyncio.gather(*(one() for _ in range(5)))
        await asyncio.Event().wait()
        return 0

    pacing = SupervisorSettings(more_sessions=3)
    async with staged(tmp_path, same(send), pacing=pacing) as stage:
        await stage.create(gateway_on(server, "support", SMTP))
        await until(lambda: len(most) == 3)
        await until(lambda: server.counters.open == 1)
        assert max(most) == 4
        assert [error.failure.kind for error in refused] == [FailureKind.BUSY] * 2
        assert server.counters.logins_ok == 4


async def test_the_end_is_polite(tmp_path: Path, server: MailServer) -> None:
    """G35: every server is told."""
    async with tapped(server.port(IMAP, NONE)) as imap, tapped(server.port(SMTP, NONE)) as smtp:
        async with staged(tmp_path) as stage:
            await stage.connected(gateway_on(server, "in", IMAP, port=imap.port))
            await stage.connected(gateway_on(server, "out", SMTP, port=smtp.port))
        assert b" LOGOUT\r\n" in imap.sent
        assert smtp.sent.endswith(b"QUIT\r\n")
    assert server.counters.open == 0


async def test_the_end_comes_soon(tmp_path: Path, server: MailServer) -> None:
    """G35: servers that say nothing any more are not waited for."""
    async with staged(tmp_path) as stage:
        names = [f"gateway-{number}" for number in range(20)]
        await stage.create_all((gateway_on(server, name), PASSWORD) for name in names)
        await until(lambda: server.counters.open == 20)
        server.faults = Faults(seconds_per_byte=10)
        loop = asyncio.get_running_loop()
        began = loop.time()
    assert loop.time() - began < 5


async def test_a_database_that_is_locked_at_the_start_is_waited_for(
    tmp_path: Path, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G26: as by a program that makes a backup."""
    monkeypatch.setattr(batches, "BUSY_SECONDS", 0.1)
    async with staged(tmp_path) as stage:
        await stage.connected(gateway_on(server))
    async with Service(tmp_path / "platform.db", SETTINGS, environment={}) as service:
        with closing(sqlite3.connect(tmp_path / "platform.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            supervisor = Supervisor(service)
            running = asyncio.create_task(supervisor.run())
            await asyncio.sleep(0.5)
            assert not running.done()
            assert server.counters.open == 0
            other.execute("ROLLBACK")
            await until(lambda: server.counters.open == 1)
        running.cancel()
        await asyncio.wait([running])
