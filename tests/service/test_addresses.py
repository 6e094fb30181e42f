"""Which addresses a service may connect to when private hosts are denied."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.service.sessions import SessionError, SessionSettings, session_for
from reconciler.service.sessions.addresses import is_public
from tests.rig.gateways import IMAP, NONE, PASSWORD, make_gateway
from tests.service.dialogues import blame

DENY = SessionSettings(private_hosts=False)
ALLOW = SessionSettings(private_hosts=True)

V4 = """
127.0.0.1 127.9.9.9 10.0.0.1 10.255.255.254 172.16.0.1 172.31.255.1 192.168.1.1 169.254.169.254
100.64.0.1 100.100.100.200 0.0.0.0 0.1.2.3 192.0.0.192 192.0.2.1 198.18.0.1 168.63.129.16 224.0.0.1
239.255.255.250 240.0.0.1 255.255.255.255
"""
V6 = """
::1 0:0:0:0:0:0:0:1 0000::0001 :: fe80::1 fe80::1%lo febf::1 fec0::1 fc00::1 fd00::2 fd00:ec2::254
ff02::1 ff0e::1 100::1 2001::1 2001:db8::1 2001:10::1 3fff::1 5f00::1 4000::1 e000::1
"""
NAMES = "localhost LOCALHOST LocalHost １２７.０.０.１ 127。0。0。1 ⓛocalhost 0177.1 0"  # noqa: RUF001 - digits of other widths, which a look-up takes for digits
PUBLIC = "8.8.8.8 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1 192.1.0.1"


def spellings(text: str) -> Iterator[str]:
    """The ways in which one IPv4 address can be written, and the IPv6 addresses that carry it."""
    number = int(ipaddress.IPv4Address(text))
    a, b, c, d = ipaddress.IPv4Address(text).packed
    yield from (text, str(number), hex(number), hex(number).upper().replace("X", "x"))
    yield f"0{number:o}"
    yield ".".join(hex(part) for part in (a, b, c, d))
    yield ".".join(f"0{part:o}" for part in (a, b, c, d))
    yield f"{a}.{number & 0xFFFFFF}"
    yield f"{a}.{b}.{number & 0xFFFF}"
    yield f"{a:#x}.{b}.0{number & 0xFFFF:o}"
    tail = f"{number >> 16:x}:{number & 0xFFFF:x}"
    yield from (f"::ffff:{text}", f"::ffff:{tail}", f"0:0:0:0:0:FFFF:{tail}")
    yield from (f"64:ff9b::{text}", f"64:ff9b:1::{tail}", f"2002:{tail}::1")
    yield from (f"::{tail}", f"::ffff:0:{tail}")


SPELLINGS = sorted({one for text in V4.split() for one in spellings(text)} | {*V6.split()})


@pytest.mark.parametrize("address", [*V4.split(), *V6.split()])
def test_private(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses that anything here tried to connect to; none of it comes to pass."""
    tried = []

    def connect(_socket: socket.socket, address: Any) -> None:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


async def refusal(host: str, port: int = 143, settings: SessionSettings = DENY) -> SessionError:
    with pytest.raises(SessionError) as caught:
        await session_for(make_gateway(IMAP, NONE, port, host=host), PASSWORD, settings).open()
    return caught.value


async def test_private_hosts_are_refused_however_they_are_spelled(connected: list[Any]) -> None:
    """A27: hundreds of spellings, one answer, and not one connection."""
    assert len(SPELLINGS) >= 300
    said = set()
    for host in [*SPELLINGS, *NAMES.split()]:
        error = await refusal(host)
        assert blame(error) == ("tcp", "host"), host
        said.add(error.failure.message.partition(":143: ")[2] + error.failure.hint)
    assert len(said) == 1
    assert connected == []


async def test_the_hook_would_see_a_connection(connected: list[Any]) -> None:
    assert blame(await refusal("127.1", settings=ALLOW)) == ("tcp", "port")
    assert blame(await refusal("8.8.8.8")) == ("tcp", "port")
    assert connected == ["127.0.0.1", "8.8.8.8"]


class Names:
    """A name server whose answers change from one question to the next."""

    def __init__(self, *answers: str) -> None:
        self.asked = 0
        self._answers = answers

    async def getaddrinfo(self, host: str, port: int, **_options: Any) -> list[Any]:
        answer = self._answers[self.asked % len(self._answers)]
        self.asked += 1
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port),
            )
            for address in answer.split()
        ]


@pytest.mark.parametrize(
    "answer",
    [
        "8.8.8.8 127.0.0.1",
        "127.0.0.1 8.8.8.8",
        "8.8.8.8 8.8.4.4 ::ffff:10.0.0.1",
        "8.8.8.8 fd00::1",
    ],
)
async def test_one_private_address_among_several_is_enough(
    connected: list[Any], monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """A27."""
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", Names(answer).getaddrinfo)
    assert blame(await refusal("mail.example.com")) == ("tcp", "host")
    assert connected == []


async def test_a_name_is_looked_up_once_and_judged_at_each_connection(
    connected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A27: what was judged is what is connected to, and the next session judges anew."""
    names = Names("8.8.8.8", "127.0.0.1")
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names.getaddrinfo)
    for turn in range(1, 4):
        assert blame(await refusal("mail.example.com")) == ("tcp", "port")
        assert blame(await refusal("mail.example.com")) == ("tcp", "host")
        assert names.asked == 2 * turn
    assert connected == ["8.8.8.8"] * 3


@pytest.mark.parametrize("port", [22, 80, 3306, 5432, 6379, 8080, 65535])
async def test_unusual_ports_are_refused_without_a_look_up(
    connected: list[Any], monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """A27: whatever the host."""
    names = Names("8.8.8.8")
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names.getaddrinfo)
    for host in ("mail.example.com", "127.0.0.1"):
        assert blame(await refusal(host, port)) == ("tcp", "port")
    assert names.asked == 0
    assert connected == []
