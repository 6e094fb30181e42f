"""What each connection field does on the wire, seen from the server's side."""

import ssl
from base64 import b64encode
from typing import Any

import pytest

from reconciler.model import EncryptionMode, Gateway, ProtocolType, Secret
from reconciler.service.sessions import SessionError, session_for
from tests.rig import MailRig
from tests.rig.certificates import Authority
from tests.rig.gateways import (
    EVERY_WAY,
    IMAP,
    NONE,
    PASSWORD,
    POP3,
    PORTS,
    SMTP,
    STARTTLS,
    TLS,
    USER,
    make_gateway,
)
from tests.rig.scripted import Peer, Script, scripted
from tests.rig.tap import tapped
from tests.rig.tls import server_context

every_way = pytest.mark.parametrize("way", EVERY_WAY, ids=" ".join)
every_protocol = pytest.mark.parametrize("protocol", [SMTP, IMAP, POP3])

Way = tuple[ProtocolType, EncryptionMode]

CLIENT_HELLO = b"\x16\x03\x01"
SECRETS = (b"pw-alice", b64encode(b"pw-alice"), b64encode(f"\0{USER}\0pw-alice".encode()))


def gateway_at(rig: MailRig, way: Way, port: int, **changes: Any) -> Gateway:
    return make_gateway(*way, port, anchor=rig.authority.certificate, **changes)


def shows_password(sent: bytes) -> bool:
    return any(secret in sent for secret in SECRETS)


async def sent_by(rig: MailRig, way: Way, password: Secret = PASSWORD, **changes: Any) -> bytes:
    """What a session sends to the real server, as somebody on the way sees it."""
    async with tapped(rig.ports[PORTS[way]]) as tap:
        session = session_for(gateway_at(rig, way, tap.port, **changes), password)
        await session.open()
        await session.keep_alive()
        await session.close()
        assert tap.connections == 1
    return bytes(tap.sent)


@pytest.mark.interop
@every_protocol
async def test_none_is_plain_text_and_asks_for_no_tls(rig: MailRig, protocol: ProtocolType) -> None:
    sent = await sent_by(rig, (protocol, NONE))
    assert shows_password(sent)  # the test of the tests below: it would be seen
    assert CLIENT_HELLO not in sent
    assert b"STARTTLS" not in sent
    assert b"STLS" not in sent


@pytest.mark.interop
@every_protocol
async def test_tls_begins_with_the_first_byte(rig: MailRig, protocol: ProtocolType) -> None:
    sent = await sent_by(rig, (protocol, TLS))
    assert sent.startswith(CLIENT_HELLO)
    assert not shows_password(sent)
    assert USER.encode() not in sent


@pytest.mark.interop
@pytest.mark.parametrize(
    ("protocol", "before"),
    [
        (SMTP, b"EHLO [127.0.0.1]\r\nSTARTTLS\r\n"),
        (IMAP, b"a1 CAPABILITY\r\na2 STARTTLS\r\n"),
        (POP3, b"CAPA\r\nSTLS\r\n"),
    ],
)
async def test_starttls_sends_nothing_else_before_tls(
    rig: MailRig, protocol: ProtocolType, before: bytes
) -> None:
    sent = await sent_by(rig, (protocol, STARTTLS))
    assert sent.startswith(before + CLIENT_HELLO)


@pytest.mark.interop
@pytest.mark.parametrize(
    ("protocol", "commands"),
    [
        (SMTP, [b"EHLO [127.0.0.1]", b"AUTH PLAIN *", b"NOOP", b"QUIT"]),
        (
            IMAP,
            [
                b"a1 CAPABILITY",
                b"a2 AUTHENTICATE PLAIN *",
                b"a3 EXAMINE INBOX",
                b"a4 NOOP",
                b"a5 LOGOUT",
            ],
        ),
        (POP3, [b"CAPA", b"AUTH PLAIN *", b"STAT", b"NOOP", b"QUIT"]),
    ],
)
async def test_the_whole_conversation(
    rig: MailRig, protocol: ProtocolType, commands: list[bytes]
) -> None:
    """One login, nothing that changes the mailbox, and a goodbye."""
    sent = await sent_by(rig, (protocol, NONE))
    assert sent.replace(SECRETS[2], b"*").splitlines() == commands


@pytest.mark.interop
async def test_no_authentication_sends_no_login_even_with_a_password(rig: MailRig) -> None:
    sent = await sent_by(rig, (SMTP, NONE), authentication_flag=False)
    assert sent.splitlines() == [b"EHLO [127.0.0.1]", b"NOOP", b"QUIT"]


@pytest.mark.interop
@every_protocol
async def test_refused_login_is_not_tried_a_second_way(
    rig: MailRig, protocol: ProtocolType
) -> None:
    async with tapped(rig.ports[PORTS[protocol, NONE]]) as tap:
        session = session_for(gateway_at(rig, (protocol, NONE), tap.port), Secret("pw-wrong"))
        with pytest.raises(SessionError):
            await session.open()
    logins = [b"AUTH PLAIN", b"AUTHENTICATE", b"LOGIN", b"USER ", b"PASS "]
    assert sum(bytes(tap.sent).count(login) for login in logins) == 1
    assert tap.connections == 1


@pytest.mark.interop
@pytest.mark.parametrize(
    "user",
    [
        "zoë@example.test",
        "long@example.test",
        "spaces@example.test",
        "EXAMPLE\\carol",
        "u" * 488 + "@example.tes",
    ],
    ids=["non-ASCII", "64-characters", "spaces-and-quotes", "domain-and-case", "500-characters"],
)
@every_way
async def test_user_and_password_arrive_byte_for_byte(rig: MailRig, way: Way, user: str) -> None:
    gateway = gateway_at(rig, way, rig.ports[PORTS[way]], user_id=user)
    session = session_for(gateway, Secret(rig.users[user]))
    await session.open()
    await session.close()


@pytest.mark.interop
@pytest.mark.parametrize(
    ("protocol", "user"), [(SMTP, f" {USER}"), (IMAP, f"{USER} "), (POP3, USER.upper())]
)
async def test_user_is_neither_trimmed_nor_lowered(
    rig: MailRig, protocol: ProtocolType, user: str
) -> None:
    way = (protocol, NONE)
    async with tapped(rig.ports[PORTS[way]]) as tap:
        session = session_for(gateway_at(rig, way, tap.port, user_id=user), PASSWORD)
        with pytest.raises(SessionError) as caught:
            await session.open()
    assert caught.value.failure.kind == "auth"
    assert b64encode(f"\0{user}\0pw-alice".encode()) in tap.sent


def server_names(server: Authority) -> tuple[ssl.SSLContext, list[str | None]]:
    """A server's TLS side, and the names that clients ask for with SNI."""
    seen: list[str | None] = []
    context = context_of(server)
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    return context, seen


def context_of(authority: Authority, *addresses: str) -> ssl.SSLContext:
    return server_context(authority.issue(("localhost",), addresses or ("127.0.0.1",)))


def allow_only(context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    context.minimum_version = context.maximum_version = version


def greets_in_tls(context: ssl.SSLContext) -> Script:
    """A POP3 server that leaves after the first command."""

    def script(peer: Peer) -> None:
        peer.start_tls(context).say(b"+OK\r\n")
        peer.hear()
        peer.close()

    return script


@pytest.mark.parametrize(("host", "names"), [("localhost", ["localhost"]), ("127.0.0.1", [None])])
async def test_sni_is_sent_for_names_only(host: str, names: list[str | None]) -> None:
    authority = Authority()
    context, seen = server_names(authority)
    with scripted(greets_in_tls(context)) as server:
        await opened(POP3, TLS, server.port, host, authority)
        assert seen == names


@pytest.mark.parametrize(("addresses", "fine"), [(("127.0.0.1",), True), (("127.0.0.9",), False)])
async def test_ip_host_needs_its_address_in_the_certificate(
    addresses: tuple[str, ...], *, fine: bool
) -> None:
    authority = Authority()
    context = context_of(authority, *addresses)
    with scripted(greets_in_tls(context)) as server:
        error = await opened(POP3, TLS, server.port, "127.0.0.1", authority)
        assert (error.failure.kind != "tls") is fine
        assert bool(server.encrypted) is fine


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_from_1_2_on(version: ssl.TLSVersion) -> None:
    authority = Authority()
    context = context_of(authority)
    allow_only(context, version)
    with scripted(greets_in_tls(context)) as server:
        await opened(POP3, TLS, server.port, "localhost", authority)
        assert server.encrypted.startswith(b"CAPA\r\n")


async def test_tls_below_1_2_is_refused() -> None:
    authority = Authority()
    context = context_of(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        allow_only(context, ssl.TLSVersion.TLSv1_1)
    with scripted(greets_in_tls(context)) as server:
        error = await opened(POP3, TLS, server.port, "localhost", authority)
    assert (error.failure.kind, error.failure.field) == ("tls", "encryption_mode")
    assert "1.2" in error.failure.message


async def opened(
    protocol: ProtocolType,
    encryption: EncryptionMode,
    port: int,
    host: str,
    authority: Authority,
) -> SessionError:
    """The error of a session whose server says no more than its greeting."""
    gateway = make_gateway(protocol, encryption, port, host=host, anchor=authority.certificate)
    with pytest.raises(SessionError) as caught:
        await session_for(gateway, PASSWORD).open()
    return caught.value


async def test_host_and_port_choose_the_server() -> None:
    def script(peer: Peer) -> None:
        peer.say(b"-ERR go away\r\n")

    authority = Authority()
    with scripted(script) as wanted, scripted(script) as other:
        error = await opened(POP3, NONE, wanted.port, "127.0.0.1", authority)
        assert len(wanted.peers) == 1
        assert not other.peers
    assert f"127.0.0.1:{wanted.port}" in error.failure.message
