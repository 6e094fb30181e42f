"""Probing asks a few likely names at a time, on the ports of mail servers and no others."""

import asyncio
from dataclasses import replace

import pytest

from demo.mailserver.server import MailServer
from reconciler.discovery import Proposal
from reconciler.discovery.probe import AT_ONCE, probe
from reconciler.model import DEFAULT_PORTS, EncryptionMode, Gateway, ProtocolType
from reconciler.service.look import look
from reconciler.service.sessions import SessionError

IMAP = ProtocolType.IMAP


async def test_real_servers_are_found_with_tls_first() -> None:
    """Only the domain itself exists here: the names before it do not resolve."""
    async with MailServer({"a": "b"}) as server:

        async def is_there(one: Proposal) -> bool:
            gateway = Gateway("", one.protocol, one.host, one.port, encryption_mode=one.encryption)
            try:
                await look(gateway)
            except SessionError:
                return False
            return True

        for protocol in ProtocolType:
            found = await probe("localhost", protocol, is_there, ports=server.ports)
            assert {one.encryption for one in found.proposals} == {EncryptionMode.TLS}
            assert found.proposals[-1].host == "localhost"
        # nothing with TLS: the STARTTLS port is asked then
        dead = dict(server.ports)
        dead[IMAP, EncryptionMode.TLS] = server.ports[ProtocolType.SMTP, EncryptionMode.NONE]
        found = await probe("localhost", IMAP, is_there, ports=dead)
        assert {one.encryption for one in found.proposals} == {EncryptionMode.STARTTLS}
        server.faults = replace(server.faults, hide_starttls=True)
        found = await probe("localhost", IMAP, is_there, ports=dead)
        assert found.proposals == ()


@pytest.mark.parametrize("protocol", ProtocolType)
async def test_a_few_at_once_and_mail_ports_only(protocol: ProtocolType) -> None:
    running, most, asked = 0, 0, set()

    async def is_there(one: Proposal) -> bool:
        nonlocal running, most
        asked.add(one.port)
        assert one.host.endswith("acme.test")
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return False

    assert (await probe("acme.test", protocol, is_there)).proposals == ()
    assert most <= AT_ONCE
    modes = (EncryptionMode.TLS, EncryptionMode.STARTTLS)
    assert asked == {DEFAULT_PORTS[protocol, mode] for mode in modes}
