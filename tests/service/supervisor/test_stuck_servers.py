"""Servers that fail a session in every way: noticed in time, and nobody else's misfortune."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from demo.mailserver import Faults, MailServer
from reconciler.model import FailureKind, Gateway, StatusState
from reconciler.service import work
from reconciler.service.service import ServiceSettings
from reconciler.service.sessions import Deadlines, SessionSettings
from reconciler.service.sessions.addresses import Address
from reconciler.service.sessions.connecting import HEAD_START_SECONDS, first_connected
from reconciler.service.supervisor import backoff
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.work import Held, Soon
from tests.rig.gateways import IMAP, NONE, make_gateway
from tests.rig.scripted import Peer, Script, scripted
from tests.service.supervisor.stage import (
    PASSWORD,
    TENANT,
    USER,
    Stage,
    gateway_on,
    staged,
    until,
)
from tests.service.supervisor.virtual import SimulatedHost, mailbox, simulated, virtually

SUCCEEDED, FAILED = StatusState.SUCCEEDED, StatusState.FAILED
HASTY = ServiceSettings(
    SessionSettings(
        Deadlines(dns=5, connect=0.3, tls=0.3, greeting=0.3, command=0.3, close=0.3, overall=5)
    )
)
REPLIES = (
    b"* OK ready\r\n",
    b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\na1 OK done\r\n",
    b"a2 OK logged in\r\n",
    b"* 0 EXISTS\r\na3 OK [READ-ONLY] done\r\n",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "KEEP_ALIVE_SECONDS", 0.2)
    monkeypatch.setattr(work, "_UNASKED_SECONDS", 0.05)
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.1)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer({USER: PASSWORD}) as running:
        yield running


def says(*replies: bytes, then: Callable[[Peer], None] = lambda _: None) -> Script:
    """Greets, answers so many commands, does what it is to do, and says nothing more."""

    def script(peer: Peer) -> None:
        for number, reply in enumerate(replies):
            if number:
                peer.hear()
            peer.say(reply)
        then(peer)

    return script


def on_port(port: int, name: str = "support") -> Gateway:
    return replace(make_gateway(IMAP, NONE, port, host="127.0.0.1"), name=name)


async def healthy(stage: Stage, server: MailServer) -> None:
    """A gateway elsewhere connects and stays connected."""
    async with asyncio.timeout(5):
        await stage.connected(gateway_on(server, "healthy"))


@pytest.mark.parametrize("replies", range(4))
async def test_a_stuck_server_is_given_up_in_every_phase(
    tmp_path: Path, server: MailServer, replies: int
) -> None:
    """G8: and the gateways of other servers notice nothing."""
    with scripted(says(*REPLIES[:replies])) as stuck:
        async with staged(tmp_path, settings=HASTY) as stage:
            await stage.create_all(
                (on_port(stuck.port, f"stuck-{number}"), PASSWORD) for number in range(10)
            )
            await healthy(stage, server)
            failure = await stage.failure(FailureKind.TIMEOUT, "stuck-0")
            assert failure.field in ("port", "host")
            assert server.counters.connections == server.counters.open == 1
            assert (await stage.read("healthy")).status.state is SUCCEEDED


@pytest.mark.parametrize(
    "faults", [Faults(silent=True), Faults(seconds_per_byte=0.2)], ids=["silent", "slow"]
)
async def test_a_stuck_server_keeps_one_task_busy(
    tmp_path: Path, server: MailServer, faults: Faults
) -> None:
    """G8: however many gateways want to connect to it."""
    async with (
        MailServer({USER: PASSWORD}, faults=faults) as stuck,
        staged(tmp_path, settings=HASTY) as stage,
    ):
        await stage.create_all((gateway_on(stuck, f"stuck-{at}"), PASSWORD) for at in range(100))
        await healthy(stage, server)
        most = 0
        for _ in range(60):
            most = max(most, stuck.counters.open)
            await asyncio.sleep(0.01)
        assert most <= 2  # it may not have noticed yet that the one before has gone
        assert stuck.counters.connections < 10
        for number in range(100):
            await stage.becomes(FAILED, f"stuck-{number}")


@pytest.mark.parametrize(
    "end",
    [
        lambda peer: (peer.say(b"* BYE shutting down\r\n"), peer.close()),
        lambda peer: peer.say(b"* BYE shutting down\r\n"),
        lambda peer: peer.close(),
        lambda peer: peer.finish(),
        lambda peer: peer.reset(),
        lambda _: None,
    ],
    ids=["BYE and FIN", "BYE", "close", "FIN", "RST", "silence"],
)
async def test_a_session_that_ends_in_any_way_is_opened_again(
    tmp_path: Path, end: Callable[[Peer], None]
) -> None:
    """G10: at once where the server says so, else with the next keep-alive."""
    with scripted(says(*REPLIES, then=end)) as server:
        async with staged(tmp_path, settings=HASTY) as stage:
            await stage.create(on_port(server.port))
            await until(lambda: len(server.peers) >= 2)
            facts = stage.supervisor.facts(TENANT, "support")
            assert facts
            assert facts.reconnects >= 1


def test_a_server_that_asks_for_another_session_each_time_keeps_nobody_busy(
    memory_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G8: it is given one ever more slowly; one that served long enough is trusted again."""
    monkeypatch.setattr(backoff, "BASE_SECONDS", 1.0)
    seconds = [0.0]

    async def ask_for_another(_: Held) -> Soon:
        await asyncio.sleep(seconds[0])
        return Soon(60)

    async def main() -> None:
        host = SimulatedHost()
        async with simulated(memory_folder, host, ask_for_another) as stage:
            await stage.create(*mailbox(1))
            await asyncio.sleep(3600)
            asked = len(host.connections)
            assert 3600 / 60 <= asked < 3600 / 15
            seconds[0] = SupervisorSettings().stable
            await asyncio.sleep(3600)
            apart = 3600 / (len(host.connections) - asked)
            assert seconds[0] <= apart < seconds[0] + 15

    virtually(main())


async def test_the_system_looks_after_idle_connections_too(server: MailServer) -> None:
    """G10: a peer that vanished from the network is noticed even where nothing is ever sent."""
    address: Address = (socket.AF_INET, ("127.0.0.1", server.port(IMAP, NONE)))
    connection, where = await first_connected([address], 5, inf)
    with closing(connection):
        assert where == "127.0.0.1"
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, interval, count = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + interval * count <= 120


async def test_an_address_that_does_not_answer_costs_little(
    tmp_path: Path, server: MailServer
) -> None:
    """G32: as of a host whose IPv6 is dead; the next address has its chance within a moment."""
    assert 3 * HEAD_START_SECONDS <= await seconds_to_connect(tmp_path, server) < 5


async def test_every_address_that_is_tried_counts(tmp_path: Path, server: MailServer) -> None:
    """G11, G32: four connections take the time of four, where two a second may begin."""
    pacing = SupervisorSettings(host_connections=2)
    assert await seconds_to_connect(tmp_path, server, pacing) >= 1.5


async def seconds_to_connect(
    tmp_path: Path, server: MailServer, pacing: SupervisorSettings | None = None
) -> float:
    """To a host whose fourth address is the first that answers."""
    port = server.port(IMAP, NONE)
    with closing(socket.socket()) as dead:
        dead.bind(("127.0.0.2", port))
        dead.listen(0)
        with closing(socket.create_connection(("127.0.0.2", port))):  # its one place is taken

            async def resolve(
                _host: str, _port: int
            ) -> tuple[tuple[socket.AddressFamily, tuple[str, int]], ...]:
                return tuple(
                    (socket.AF_INET, (address, port))
                    for address in ("127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.1")
                )

            patient = SessionSettings(Deadlines(connect=10), resolve=resolve)
            settings = ServiceSettings(patient)
            async with staged(tmp_path, settings=settings, pacing=pacing) as stage:
                loop = asyncio.get_running_loop()
                began = loop.time()
                await stage.connected(gateway_on(server))
                took = loop.time() - began
        assert server.counters.connections == 1
    return took
