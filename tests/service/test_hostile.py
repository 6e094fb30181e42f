"""Servers that misbehave: what real ones cannot be made to show."""

import asyncio
import time
from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.mailserver import MailServer
from reconciler.model import EncryptionMode, ProtocolType, Secret
from reconciler.service.sessions import SessionError, session_for
from reconciler.service.sessions.transport import Wire
from tests.rig.certificates import Authority
from tests.rig.gateways import (
    HASTY,
    IMAP,
    NONE,
    PASSWORD,
    POP3,
    SMTP,
    STARTTLS,
    TLS,
    USER,
    make_gateway,
)
from tests.rig.scripted import Peer, Script, scripted
from tests.rig.tls import server_context
from tests.service.dialogues import (
    GO_AHEAD,
    GREETING,
    LOGIN,
    PLAIN,
    STARTTLS_AND_LOGIN,
    assert_no_secret,
    blame,
    dialogue,
    every_protocol,
    failure_of,
    opened,
)


@pytest.mark.parametrize(
    ("protocol", "greeting", "blamed"),
    [
        (SMTP, b"554 no service\r\n", ("protocol", "host")),
        (SMTP, b"421 too many\r\n", ("busy", "host")),
        (SMTP, b"450 later\r\n", ("busy", "host")),
        (SMTP, b"250 what\r\n", ("protocol", "port")),
        (SMTP, b"\x15\x03\x01\0\x02\x02\x0a\n", ("protocol", "encryption_mode")),
        (IMAP, b"* BYE too many\r\n", ("busy", "host")),
        (IMAP, b"* NO\r\n", ("protocol", "port")),
        (IMAP, b"SSH-2.0-OpenSSH_9.2\r\n", ("protocol", "port")),
        (POP3, b"-ERR too many\r\n", ("busy", "host")),
        (POP3, b"+OKAY\r\n", ("protocol", "port")),
        (POP3, b"HTTP/1.1 400 Bad Request\r\n", ("protocol", "port")),
        (POP3, b"\r\n", ("protocol", "port")),
        (POP3, b"\xff\xfe\0\r\n", ("protocol", "port")),
    ],
)
async def test_greeting(protocol: ProtocolType, greeting: bytes, blamed: tuple[str, str]) -> None:
    error, heard = await failure_of(protocol, dialogue(greeting))
    assert blame(error) == blamed
    assert heard == b""


@pytest.mark.parametrize("mode", [NONE, STARTTLS])
@every_protocol
async def test_a_port_for_tls_waits_silently(protocol: ProtocolType, mode: EncryptionMode) -> None:
    async with MailServer({}) as server:
        port = server.port(protocol, TLS)
        anchor = server.ca_file.read_text()
        gateway = make_gateway(protocol, mode, port, host="127.0.0.1", anchor=anchor)
        with pytest.raises(SessionError) as caught:
            await session_for(gateway, PASSWORD, HASTY).open()
        assert blame(caught.value) == ("timeout", "port")
        assert "expects encryption_mode TLS" in caught.value.failure.hint
        session = session_for(replace(gateway, port=993), PASSWORD, HASTY)
        session.wire = Wire("127.0.0.1", port, HASTY)  # no test can rely on having port 993
        with pytest.raises(SessionError) as caught:
            await session.open()
        assert blame(caught.value) == ("timeout", "encryption_mode")
        assert "use encryption_mode TLS" in caught.value.failure.hint


@pytest.mark.parametrize("port", [993, 1993])
async def test_silence_under_tls_is_not_for_want_of_tls(port: int) -> None:
    authority = Authority()
    context = server_context(authority.issue(("localhost",), ("127.0.0.1",)))

    def silent(peer: Peer) -> None:
        peer.start_tls(context).listen_on()

    with scripted(silent) as server:
        anchor = authority.certificate
        gateway = make_gateway(IMAP, TLS, port, host="127.0.0.1", anchor=anchor)
        session = session_for(gateway, PASSWORD, HASTY)
        session.wire = Wire("127.0.0.1", server.port, HASTY)
        with pytest.raises(SessionError) as caught:
            await session.open()
    assert blame(caught.value) == ("timeout", "port")
    assert "TLS" not in caught.value.failure.hint


@every_protocol
async def test_hanging_up_instead_of_greeting(protocol: ProtocolType) -> None:
    error, _ = await failure_of(protocol, lambda peer: peer.close())
    assert (*blame(error), error.transient) == ("tcp", "host", True)


@every_protocol
async def test_reset_instead_of_greeting(protocol: ProtocolType) -> None:
    error, _ = await failure_of(protocol, lambda peer: peer.reset())
    assert (*blame(error), error.transient) == ("tcp", "host", True)


def trickle(peer: Peer) -> None:
    """A greeting that never ends, one byte at a time: each one would restart a read's deadline."""
    for _ in range(100):
        peer.say(b"2")
        time.sleep(0.05)


@pytest.mark.parametrize("script", [trickle, lambda _peer: None], ids=["trickles", "is silent"])
@every_protocol
async def test_greeting_has_a_deadline(protocol: ProtocolType, script: Script) -> None:
    started = time.perf_counter()
    error, heard = await failure_of(protocol, script, HASTY)
    assert time.perf_counter() - started < 2
    assert (*blame(error), error.transient) == ("timeout", "port", True)
    assert heard == b""


@every_protocol
async def test_command_has_a_deadline(protocol: ProtocolType) -> None:
    error, _ = await failure_of(protocol, lambda peer: peer.say(GREETING[protocol]), HASTY)
    assert (*blame(error), error.transient) == ("timeout", "host", True)


async def test_all_phases_together_have_a_deadline() -> None:
    def script(peer: Peer) -> None:
        peer.say(GREETING[POP3])
        time.sleep(0.25)
        peer.answer(LOGIN[POP3])

    hasty = replace(HASTY, deadlines=replace(HASTY.deadlines, overall=0.5))
    with scripted(script) as server, pytest.raises(SessionError) as caught:
        await opened(POP3, server.port, settings=hasty)
    assert blame(caught.value) == ("timeout", "host")
    assert "complete a session" in caught.value.failure.message


def flood(*said: bytes) -> Script:
    """Says these, one for each line heard but the last, which it repeats for as long as it may."""

    def script(peer: Peer) -> None:
        peer.say(said[0])
        peer.answer(*said[1:-1])
        peer.hear()
        while True:
            peer.say(said[-1])

    return script


@pytest.mark.parametrize(
    ("protocol", "script"),
    [
        (SMTP, flood(GREETING[SMTP], b"250-" + b"x" * 70_000)),
        (SMTP, flood(GREETING[SMTP], b"250-x\r\n" * 100)),
        (SMTP, flood(GREETING[SMTP], b"x")),
        (SMTP, dialogue(GREETING[SMTP], b"250-x\r\n" * 1_500 + b"250 x\r\n")),
        (IMAP, flood(GREETING[IMAP], b"* OK x\r\n" * 100)),
        (IMAP, flood(GREETING[IMAP], b"* OK {2}\r\nxy{2}\r\nxy")),
        (IMAP, flood(GREETING[IMAP], b"* OK {60000}\r\n" + b"x" * 60_000 + b"\r\n")),
        (IMAP, flood(GREETING[IMAP], b"* OK {9999999999}\r\n")),
        (IMAP, flood(GREETING[IMAP], b"* OK {99999999999999999999}\r\n")),
        (IMAP, flood(GREETING[IMAP], b"* OK " + b"{0}\r\n" * 100)),
        (POP3, flood(GREETING[POP3], b"+OK\r\n" + b"SASL PLAIN\r\n" * 100)),
        (POP3, flood(GREETING[POP3], b"+OK" + b"x" * 70_000)),
    ],
)
async def test_replies_without_end(protocol: ProtocolType, script: Script) -> None:
    error, heard = await failure_of(protocol, script)
    assert blame(error) == ("protocol", "port")
    assert "without end" in error.failure.message
    assert_no_secret(heard)


async def test_imap_server_that_always_asks_for_more_is_left() -> None:
    script = dialogue(GREETING[IMAP], LOGIN[IMAP], b"+ more\r\n", b"+ more\r\n")
    error, heard = await failure_of(IMAP, script)
    assert blame(error) == ("protocol", "port")
    assert heard.splitlines()[-1] == b"*"
    assert heard.count(PLAIN) == 1


@pytest.mark.parametrize(
    "password", ["pw-alice", "pä  ss'\"\\", " x ", "***", "秘密" * 32], ids=str
)
@every_protocol
async def test_password_is_never_repeated(protocol: ProtocolType, password: str) -> None:
    """Whatever form the server gives it back in."""
    plain = b64encode(f"\0{USER}\0{password}".encode())
    echo = b"%s|%s|%s" % (password.encode(), b64encode(password.encode()), plain)
    refusal = {SMTP: b"535 ", IMAP: b"a2 NO ", POP3: b"-ERR "}[protocol] + echo + b"\r\n"
    script = dialogue(GREETING[protocol], LOGIN[protocol], refusal)
    with scripted(script) as server, pytest.raises(SessionError) as caught:
        await opened(protocol, server.port, Secret(password))
    said = caught.value.failure.message.partition(": ")[2]
    assert said.count("***") == 3
    assert plain.decode() not in said
    assert b64encode(password.encode()).decode() not in said
    assert password == "***" or password.strip() not in said


async def test_quotes_are_clean_and_short() -> None:
    words = "\x1b[31mred\x07 \u202egnp.exe\u200b\0 " + "long " * 200
    error, _ = await failure_of(POP3, dialogue(b"-ERR " + words.encode() + b"\r\n"))
    message = error.failure.message
    assert message.isprintable()
    assert "[31mred gnp.exe long long" in message
    assert len(message) < 260


@pytest.mark.parametrize(
    ("protocol", "replies", "goodbye"),
    [
        (SMTP, [LOGIN[SMTP], b"235 yes\r\n"], b"421 idle too long\r\n"),
        (
            IMAP,
            [LOGIN[IMAP], b"a2 OK\r\n", b"a3 OK\r\n"],
            b"* BYE idle too long\r\n",
        ),
    ],
)
async def test_session_ended_by_the_server_says_why(
    protocol: ProtocolType, replies: list[bytes], goodbye: bytes
) -> None:
    with scripted(dialogue(GREETING[protocol], *replies, goodbye)) as server:
        session = await opened(protocol, server.port)
        with pytest.raises(SessionError) as caught:
            await session.keep_alive()
        await session.close()
    assert (*blame(caught.value), caught.value.transient) == ("busy", "host", True)
    assert "idle too long" in caught.value.failure.message


async def test_goodbye_to_a_stuck_server_is_short() -> None:
    def script(peer: Peer) -> None:
        peer.say(GREETING[POP3])
        peer.answer(LOGIN[POP3], b"+OK\r\n", b"+OK 0 0\r\n")

    with scripted(script) as server:
        session = await opened(POP3, server.port, settings=HASTY)
        started = time.perf_counter()
        await session.close()
        assert time.perf_counter() - started < 2


async def test_cancelled_open_leaves_no_connection() -> None:
    with scripted(lambda peer: peer.say(GREETING[IMAP])) as server:
        gateway = make_gateway(IMAP, EncryptionMode.NONE, server.port, host="127.0.0.1")
        session = session_for(gateway, PASSWORD)
        task = asyncio.create_task(session.open())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.wire._stream is None
        assert server.plain == b"a1 CAPABILITY\r\n"


FRAGMENT_LINES = b"a2 OK,a3 OK,+ ,334 ,235 ,+OK 1 1,{3},* BYE,.,,{99999},* 1 FETCH {2}"
FRAGMENTS = st.sampled_from(
    [
        *GO_AHEAD.values(),
        *GREETING.values(),
        *LOGIN.values(),
        *STARTTLS_AND_LOGIN.values(),
        *(line + b"\r\n" for line in FRAGMENT_LINES.split(b",")),
        b"250-",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    protocol=st.sampled_from([SMTP, IMAP, POP3]),
    encryption=st.sampled_from([EncryptionMode.NONE, STARTTLS]),
    said=st.lists(FRAGMENTS | st.binary(max_size=40), max_size=8).map(b"".join),
)
def test_whatever_is_said_ends_in_a_session_or_a_failure(
    protocol: ProtocolType, encryption: EncryptionMode, said: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.say(said)
        peer.finish()

    async def attempt(port: int) -> None:
        gateway = make_gateway(
            protocol, encryption, port, host="127.0.0.1", anchor=ANCHOR.certificate
        )
        session = session_for(gateway, PASSWORD)
        message = ""
        try:
            await session.open()
        except SessionError as error:
            message = error.failure.message
        await session.close()
        assert message == "" or message.isprintable()
        assert "pw-alice" not in message

    with scripted(script) as server:
        asyncio.run(attempt(server.port))
        if encryption is STARTTLS:
            assert_no_secret(server.plain)


ANCHOR = Authority()
