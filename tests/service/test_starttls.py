"""Somebody between, who changes what is said in plain text, or presents a bad certificate."""

import ssl
import time
from collections.abc import Callable

import pytest

from reconciler.model import EncryptionMode, ProtocolType
from reconciler.service.sessions import SessionError, SessionSettings, session_for
from tests.rig.certificates import DAY, Authority, KeyPair
from tests.rig.gateways import HASTY, IMAP, PASSWORD, POP3, SMTP, STARTTLS, TLS, make_gateway
from tests.rig.scripted import Peer, Script, scripted
from tests.rig.tls import server_context
from tests.service.dialogues import (
    GO_AHEAD,
    GREETING,
    LOGIN,
    NO_LOGIN,
    STARTTLS_AND_LOGIN,
    STARTTLS_ONLY,
    assert_no_secret,
    blame,
    dialogue,
    every_protocol,
    renumbered,
)


class Between:
    """A server with a good certificate for 127.0.0.1, as far as a test's script uses it."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.context = self.present(self.authority.issue(("localhost",), ("127.0.0.1",)))

    @staticmethod
    def present(pair: KeyPair) -> ssl.SSLContext:
        return server_context(pair)

    async def failure(
        self,
        protocol: ProtocolType,
        script: Script,
        encryption: EncryptionMode = STARTTLS,
        settings: SessionSettings | None = None,
    ) -> SessionError:
        """How a session with encryption fails, having told nothing secret."""
        with scripted(script) as server:
            gateway = make_gateway(
                protocol,
                encryption,
                server.port,
                host="127.0.0.1",
                anchor=self.authority.certificate,
            )
            with pytest.raises(SessionError) as caught:
                await session_for(gateway, PASSWORD, settings).open()
            assert_no_secret(server.plain)
            assert_no_secret(server.encrypted)
        return caught.value


@pytest.fixture(scope="module")
def between() -> Between:
    return Between()


def up_to_tls(protocol: ProtocolType, then: Callable[[Peer], None]) -> Script:
    def script(peer: Peer) -> None:
        peer.say(GREETING[protocol])
        peer.answer(STARTTLS_AND_LOGIN[protocol])
        then(peer)

    return script


@every_protocol
async def test_stripped_starttls(between: Between, protocol: ProtocolType) -> None:
    error = await between.failure(protocol, dialogue(GREETING[protocol], LOGIN[protocol]))
    assert blame(error) == ("protocol", "encryption_mode")


@pytest.mark.parametrize(
    ("protocol", "reply"),
    [
        (SMTP, b"454 TLS not available\r\n"),
        (SMTP, b"502 what\r\n"),
        (SMTP, b"250 fine\r\n"),
        (SMTP, b"235 you are logged in\r\n"),
        (IMAP, b"a2 NO not today\r\n"),
        (IMAP, b"a2 BAD what\r\n"),
        (POP3, b"-ERR not today\r\n"),
        (POP3, b"+ more\r\n"),
    ],
)
async def test_refused_starttls(between: Between, protocol: ProtocolType, reply: bytes) -> None:
    script = dialogue(GREETING[protocol], STARTTLS_AND_LOGIN[protocol], reply, LOGIN[protocol])
    error = await between.failure(protocol, script)
    assert blame(error) == ("protocol", "encryption_mode")


INJECTED = {
    SMTP: [b"250 AUTH PLAIN\r\n", b"250-x\r\n250 AUTH PLAIN\r\n235 yes\r\n", b"2", b"\r\n", b"\0"],
    IMAP: [b"* CAPABILITY AUTH=PLAIN\r\n", b"a3 OK\r\na4 OK\r\n", b"* PREAUTH\r\n", b"*", b"\n"],
    POP3: [b"+OK\r\nUSER\r\n.\r\n", b"+OK\r\n", b"+", b"\r\n", b"\0"],
}


@pytest.mark.parametrize("case", range(5))
@every_protocol
async def test_replies_injected_before_tls(
    between: Between, protocol: ProtocolType, case: int
) -> None:
    """In one packet with the answer to STARTTLS, to be taken for answers under TLS."""

    def then(peer: Peer) -> None:
        peer.hear()
        peer.say(GO_AHEAD[protocol] + INJECTED[protocol][case])
        peer.start_tls(between.context)

    error = await between.failure(protocol, up_to_tls(protocol, then))
    assert blame(error) == ("protocol", "encryption_mode")
    assert "tampering" in error.failure.hint


@pytest.mark.parametrize("case", range(5))
@every_protocol
async def test_replies_injected_into_the_handshake(
    between: Between, protocol: ProtocolType, case: int
) -> None:
    """A moment later than the answer: they are then no TLS and end the handshake."""

    def then(peer: Peer) -> None:
        peer.answer(GO_AHEAD[protocol])
        time.sleep(0.05)
        peer.say(INJECTED[protocol][case])
        peer.start_tls(between.context)

    error = await between.failure(protocol, up_to_tls(protocol, then))
    assert error.failure.kind in ("tls", "protocol")


@every_protocol
async def test_everything_said_in_advance(between: Between, protocol: ProtocolType) -> None:
    """All replies of a whole login, before a single command."""
    rest = STARTTLS_AND_LOGIN[protocol] + GO_AHEAD[protocol] + renumbered(LOGIN[protocol], 3)
    error = await between.failure(protocol, lambda peer: peer.say(GREETING[protocol] + rest))
    assert error.failure.kind in ("protocol", "timeout")


async def test_preauth_takes_starttls_away(between: Between) -> None:
    script = dialogue(b"* PREAUTH hello\r\n", STARTTLS_AND_LOGIN[IMAP], b"a2 OK\r\n", b"a3 OK\r\n")
    error = await between.failure(IMAP, script)
    assert blame(error) == ("protocol", "encryption_mode")
    assert "PREAUTH" in error.failure.message


@every_protocol
async def test_plain_text_instead_of_a_handshake(between: Between, protocol: ProtocolType) -> None:
    def then(peer: Peer) -> None:
        peer.answer(GO_AHEAD[protocol])
        time.sleep(0.02)
        peer.say(LOGIN[protocol])

    error = await between.failure(protocol, up_to_tls(protocol, then))
    assert blame(error)[1] == "encryption_mode"


@every_protocol
async def test_hanging_up_in_the_handshake(between: Between, protocol: ProtocolType) -> None:
    script = dialogue(GREETING[protocol], STARTTLS_ONLY[protocol], GO_AHEAD[protocol])
    error = await between.failure(protocol, script)
    assert error.failure.kind in ("tls", "tcp")
    assert error.transient


@every_protocol
async def test_silence_in_the_handshake(between: Between, protocol: ProtocolType) -> None:
    def then(peer: Peer) -> None:
        peer.answer(GO_AHEAD[protocol])

    error = await between.failure(protocol, up_to_tls(protocol, then), settings=HASTY)
    assert blame(error) == ("timeout", "encryption_mode")


@every_protocol
async def test_what_was_offered_before_tls_is_forgotten(
    between: Between, protocol: ProtocolType
) -> None:
    def then(peer: Peer) -> None:
        peer.answer(GO_AHEAD[protocol])
        peer.start_tls(between.context)
        peer.answer(renumbered(NO_LOGIN[protocol], 3))
        peer.close()

    error = await between.failure(protocol, up_to_tls(protocol, then))
    assert blame(error) == ("protocol", "authentication_flag")


async def test_server_is_told_why_its_certificate_is_refused(between: Between) -> None:
    """With a TLS alert: it is what its operator finds in the log."""
    context = between.present(Authority().issue((), ("127.0.0.1",)))
    told: list[str] = []

    def script(peer: Peer) -> None:
        try:
            peer.start_tls(context).hear()
        except ssl.SSLError as error:
            told.append(error.reason or "")
            raise

    await between.failure(IMAP, script, TLS)
    assert told == ["TLSV1_ALERT_UNKNOWN_CA"]


BAD_CERTIFICATES: dict[str, Callable[[Authority], KeyPair]] = {
    "unknown authority": lambda _: Authority().issue(("localhost",), ("127.0.0.1",)),
    "same name, other key": lambda _: Authority("Rig root").issue(("localhost",), ("127.0.0.1",)),
    "self-signed": lambda known: known.issue(("localhost",), ("127.0.0.1",), self_signed=True),
    "other name": lambda known: known.issue(("other.example.test",)),
    "address as a name": lambda known: known.issue(("127.0.0.1",)),
    "other address": lambda known: known.issue((), ("127.0.0.9",)),
    "expired": lambda known: known.issue((), ("127.0.0.1",), valid=(-9 * DAY, -DAY)),
    "not yet valid": lambda known: known.issue((), ("127.0.0.1",), valid=(DAY, 9 * DAY)),
}


@pytest.mark.parametrize("bad", BAD_CERTIFICATES)
@pytest.mark.parametrize("encryption", [TLS, STARTTLS])
@every_protocol
async def test_bad_certificate_hears_nothing_secret(
    between: Between, protocol: ProtocolType, encryption: EncryptionMode, bad: str
) -> None:
    context = between.present(BAD_CERTIFICATES[bad](between.authority))

    def then(peer: Peer) -> None:
        peer.answer(GO_AHEAD[protocol])
        peer.start_tls(context)

    def script(peer: Peer) -> None:
        peer.start_tls(context).say(GREETING[protocol])

    chosen = script if encryption is TLS else up_to_tls(protocol, then)
    error = await between.failure(protocol, chosen, encryption)
    assert error.failure.kind == "tls"
    assert not error.transient
