"""A machine with a name server of our own: run in namespaces of its own by test_name_servers.py.

`python -m tests.service.supervisor.dns_world FOLDER` ends with 0 if everything was as it must be.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Mapping
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Final, cast

from demo.mailserver import MailServer
from reconciler.model import FailureKind, StatusState
from reconciler.service import work
from reconciler.service.service import ServiceSettings
from reconciler.service.sessions import Deadlines, SessionSettings
from reconciler.service.sessions.connecting import HEAD_START_SECONDS
from tests.rig.gateways import IMAP, NONE
from tests.service.supervisor.stage import PASSWORD, USER, Stage, gateway_on, staged, until

HOST: Final = "mail.example.test"
DEAD: Final = "2001:db8::1"
VERSIONS: Final = {1: 4, 28: 6}
"""Of the addresses that a question of type A or AAAA asks for."""

SETTINGS: Final = ServiceSettings(SessionSettings(Deadlines(dns=2, connect=10)))


class Mood(Enum):
    """The name server's code for an answer; it may also give none."""

    FINE = 0
    SERVFAIL = 2
    NXDOMAIN = 3
    SILENT = -1


class NameServer(asyncio.DatagramProtocol):
    """Answers for one host; `asked` counts the questions."""

    def __init__(self) -> None:
        self.mood = Mood.NXDOMAIN
        self.addresses: tuple[str, ...] = ()
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str | int, ...]) -> None:
        self.asked += 1
        if self.mood is not Mood.SILENT:
            self._transport.sendto(self._answer(data), address)

    def _answer(self, question: bytes) -> bytes:
        end = question.index(b"\0", 12) + 5
        (kind,) = struct.unpack("!H", question[end - 4 : end - 2])
        addresses = map(ip_address, self.addresses if self.mood is Mood.FINE else ())
        answers = [
            struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(one.packed)) + one.packed
            for one in addresses
            if one.version == VERSIONS.get(kind)
        ]
        head = struct.pack("!HHHHH", 0x8180 | self.mood.value, 1, len(answers), 0, 0)
        return question[:2] + head + question[12:end] + b"".join(answers)


async def changes(stage: Stage, names: NameServer, servers: Mapping[str, MailServer]) -> None:
    """What a name server may say, one after the other, of a gateway that is to be connected."""
    here, there = servers["127.0.0.1"], servers["127.0.0.2"]
    gateway = gateway_on(here, host=HOST)
    await stage.create(gateway)
    failure = await stage.failure(FailureKind.DNS)
    assert failure.message == f"{HOST}: no such host", failure
    for mood in (Mood.SERVFAIL, Mood.SILENT):
        names.mood = mood
        await stage.rebuild()
        failure = await stage.failure(FailureKind.DNS)
        assert failure.message == f"{HOST}: no name server answers", failure
    elsewhere = gateway_on(here, "elsewhere")
    await stage.connected(elsewhere)

    names.mood, names.addresses = Mood.FINE, ("127.0.0.1",)
    await stage.becomes(StatusState.SUCCEEDED)
    assert here.counters.open == 2
    names.addresses = ("127.0.0.2",)
    asked = names.asked
    await here.drop_sessions()
    await until(lambda: there.counters.open == here.counters.open == 1)
    assert names.asked > asked

    names.addresses = (DEAD, "127.0.0.2")
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(HOST, 143, type=socket.SOCK_STREAM)
    # the dead one is the one that the system prefers
    assert [address[0] for *_, address in found] == [DEAD, "127.0.0.2"]
    began = loop.time()
    await stage.rebuild()
    assert (await stage.settled()).status.state is StatusState.SUCCEEDED
    assert HEAD_START_SECONDS <= loop.time() - began < 10


async def main(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 53))
    async with MailServer({USER: PASSWORD}) as here:
        ports = {way: port for way, port in here.ports.items() if way == (IMAP, NONE)}
        there = MailServer({USER: PASSWORD}, hosts=["127.0.0.2"], ports=ports)
        async with there, staged(folder, settings=SETTINGS) as stage:
            await changes(stage, names, {"127.0.0.1": here, "127.0.0.2": there})
    transport.close()


if __name__ == "__main__":
    socket.setdefaulttimeout(30)
    work.KEEP_ALIVE_SECONDS = 0.2  # type: ignore[misc]
    asyncio.run(main(Path(sys.argv[1])))
