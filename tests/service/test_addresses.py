"""Which addresses a service may connect to when private hosts are denied."""

import ipaddress

import pytest

from reconciler.service.sessions import SessionError, SessionSettings, session_for
from reconciler.service.sessions.addresses import is_public
from tests.rig.gateways import IMAP, NONE, PASSWORD, make_gateway
from tests.rig.scripted import scripted
from tests.service.dialogues import blame

DENY = SessionSettings(private_hosts=False)

PRIVATE = """
127.0.0.1 127.9.9.9 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1
255.255.255.255 ::1 :: fe80::1 fd00::2 ff02::1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
64:ff9b::a00:1 2002:a00:1::
"""
PUBLIC = "8.8.8.8 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808"


@pytest.mark.parametrize("address", PRIVATE.split())
def test_private(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433"])
async def test_private_host_is_refused_however_it_is_spelled(host: str) -> None:
    session = session_for(make_gateway(IMAP, NONE, 143, host=host), PASSWORD, DENY)
    with pytest.raises(SessionError) as caught:
        await session.open()
    assert blame(caught.value) == ("tcp", "host")


async def test_unusual_port_is_refused_without_contact() -> None:
    with scripted(lambda peer: peer.close()) as server:
        gateway = make_gateway(IMAP, NONE, server.port, host="127.0.0.1")
        with pytest.raises(SessionError) as caught:
            await session_for(gateway, PASSWORD, DENY).open()
        assert not server.peers
    assert blame(caught.value) == ("tcp", "port")
