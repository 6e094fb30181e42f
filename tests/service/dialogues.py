"""What a scripted server of each protocol says, up to the point that a test is about."""

from base64 import b64encode
from typing import Any

import pytest

from reconciler.model import ProtocolType, Secret
from reconciler.service.sessions import SessionError, SessionSettings, session_for
from reconciler.service.sessions.base import MailSession
from tests.rig.gateways import IMAP, NONE, PASSWORD, POP3, SMTP, USER, make_gateway
from tests.rig.scripted import Peer, Script, scripted

every_protocol = pytest.mark.parametrize("protocol", [SMTP, IMAP, POP3])

PLAIN = b64encode(f"\0{USER}\0pw-alice".encode())
SECRETS = (b"pw-alice", b64encode(b"pw-alice"), PLAIN)

GREETING = {SMTP: b"220 hello\r\n", IMAP: b"* OK hello\r\n", POP3: b"+OK hello\r\n"}
LOGIN = {  # what the server can do, when logging in is possible
    SMTP: b"250-hello\r\n250 AUTH PLAIN\r\n",
    IMAP: b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\na1 OK\r\n",
    POP3: b"+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n",
}
STARTTLS_ONLY = {
    SMTP: b"250-hello\r\n250 STARTTLS\r\n",
    IMAP: b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na1 OK\r\n",
    POP3: b"+OK\r\nSTLS\r\n.\r\n",
}
STARTTLS_AND_LOGIN = {
    SMTP: b"250-hello\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
    IMAP: b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR\r\na1 OK\r\n",
    POP3: b"+OK\r\nSTLS\r\nSASL PLAIN\r\nUSER\r\n.\r\n",
}
NO_LOGIN = {
    SMTP: b"250 hello\r\n",
    IMAP: b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\na1 OK\r\n",
    POP3: b"+OK\r\nTOP\r\n.\r\n",
}
GO_AHEAD = {SMTP: b"220 go\r\n", IMAP: b"a2 OK go\r\n", POP3: b"+OK go\r\n"}


def renumbered(reply: bytes, tag: int) -> bytes:
    """The same IMAP reply, to a later command."""
    return reply.replace(b"a1 OK", b"a%d OK" % tag)


def dialogue(greeting: bytes, *replies: bytes) -> Script:
    """Greets, answers one line with one reply each, then hangs up."""

    def script(peer: Peer) -> None:
        peer.say(greeting)
        peer.answer(*replies)
        peer.close()

    return script


async def opened(
    protocol: ProtocolType,
    port: int,
    password: Secret = PASSWORD,
    settings: SessionSettings | None = None,
    **fields: Any,
) -> MailSession:
    """A session without encryption, open."""
    gateway = make_gateway(protocol, NONE, port, host="127.0.0.1", **fields)
    session = session_for(gateway, password, settings)
    await session.open()
    return session


def blame(error: SessionError) -> tuple[str, str | None]:
    return error.failure.kind.value, error.failure.field


def assert_no_secret(heard: bytes) -> None:
    assert not any(secret in heard for secret in SECRETS)
    assert USER.encode() not in heard


async def failure_of(
    protocol: ProtocolType, script: Script, settings: SessionSettings | None = None
) -> tuple[SessionError, bytes]:
    """How a session without encryption fails, and what the server heard."""
    with scripted(script) as server:
        with pytest.raises(SessionError) as caught:
            await opened(protocol, server.port, settings=settings)
        return caught.value, server.plain
