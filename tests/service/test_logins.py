"""Logging in: the ways there are, and what a refusal means."""

from base64 import b64encode

import pytest

from reconciler.model import ProtocolType, Secret
from reconciler.service.sessions import SessionError
from tests.rig.gateways import IMAP, PASSWORD, POP3, SMTP, USER
from tests.rig.scripted import scripted
from tests.service.dialogues import (
    GREETING,
    LOGIN,
    NO_LOGIN,
    PLAIN,
    assert_no_secret,
    blame,
    dialogue,
    every_protocol,
    failure_of,
    opened,
)

AUTH = ("auth", "user_password", False)
BUSY = ("busy", "host", True)


@pytest.mark.parametrize(
    ("protocol", "reply", "verdict"),
    [
        (SMTP, b"535 5.7.8 no", AUTH),
        (SMTP, b"534 5.7.9 app password needed", AUTH),
        (SMTP, b"550-5.7.1 no\r\n550 5.7.1 indeed", AUTH),
        (SMTP, b"538 too weak", ("protocol", "encryption_mode", False)),
        (SMTP, b"530 5.7.0 no", AUTH),
        (SMTP, b"454 4.7.0 later", BUSY),
        (SMTP, b"421 4.3.2 shutting down", BUSY),
        (SMTP, b"451 4.3.0 later", BUSY),
        (SMTP, b"504 5.5.4 what", ("protocol", "authentication_flag", False)),
        (SMTP, b"334 ", ("protocol", "port", False)),
        (SMTP, b"2x5 yes", ("protocol", "port", False)),
        (SMTP, b"235-yes\r\n535 no", ("protocol", "port", False)),
        (IMAP, b"a2 NO [AUTHENTICATIONFAILED] no", AUTH),
        (IMAP, b"a2 NO [AUTHENTICATIONFAILED] too many connections", AUTH),
        (IMAP, b"a2 NO [EXPIRED] no", AUTH),
        (IMAP, b"a2 NO no", AUTH),
        (IMAP, b"a2 no no", AUTH),
        (IMAP, b"a2 NO [UNAVAILABLE] later", BUSY),
        (IMAP, b"a2 NO [LIMIT] later", BUSY),
        (IMAP, b"a2 NO [INUSE] later", BUSY),
        (IMAP, b"a2 NO [ALERT] Too many simultaneous connections. (Failure)", BUSY),
        (IMAP, b"* BYE later", BUSY),
        (IMAP, b"a2 NO [PRIVACYREQUIRED] no", ("protocol", "encryption_mode", False)),
        (IMAP, b"a2 BAD what", ("protocol", "authentication_flag", False)),
        (IMAP, b"a9 OK yes", ("protocol", "port", False)),
        (POP3, b"-ERR [AUTH] no", AUTH),
        (POP3, b"-ERR no", AUTH),
        (POP3, b"-ERR [SYS/PERM] no", AUTH),
        (POP3, b"-ERR [SYS/TEMP] later", BUSY),
        (POP3, b"-ERR [IN-USE] later", BUSY),
        (POP3, b"-ERR [in-use] later", BUSY),
        (POP3, b"-ERR [LOGIN-DELAY] later", BUSY),
        (POP3, b"-ERR maildrop already locked", BUSY),
        (POP3, b"+ more", ("protocol", "port", False)),
        (POP3, b"yes", ("protocol", "port", False)),
    ],
)
async def test_refused_login(
    protocol: ProtocolType, reply: bytes, verdict: tuple[str, str, bool]
) -> None:
    script = dialogue(GREETING[protocol], LOGIN[protocol], reply + b"\r\n")
    error, heard = await failure_of(protocol, script)
    assert (*blame(error), error.transient) == verdict
    assert heard.count(PLAIN) == 1  # and not once more


async def test_refused_user_blames_the_user() -> None:
    script = dialogue(GREETING[POP3], b"-ERR\r\n", b"-ERR no such mailbox\r\n")
    error, heard = await failure_of(POP3, script)
    assert blame(error) == ("auth", "user_id")
    assert b"PASS" not in heard


@every_protocol
async def test_login_that_is_not_offered_is_not_tried(protocol: ProtocolType) -> None:
    script = dialogue(GREETING[protocol], NO_LOGIN[protocol])
    error, heard = await failure_of(protocol, script)
    assert blame(error) == ("protocol", "encryption_mode")
    assert_no_secret(heard)


EXAMINED = b"* 2 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 9]\r\n"


@pytest.mark.parametrize(
    ("protocol", "replies", "heard"),
    [
        (
            SMTP,
            [b"250-x\r\n250 AUTH=LOGIN\r\n", b"334 u\r\n", b"334 p\r\n", b"235 yes\r\n"],
            [b"AUTH LOGIN", b64encode(USER.encode()), b64encode(b"pw-alice")],
        ),
        (
            IMAP,
            [
                b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na1 OK\r\n",
                b"+ \r\n",
                b"* OK welcome\r\na2 OK\r\n",
                EXAMINED + b"a3 OK\r\n",
            ],
            [b"a2 AUTHENTICATE PLAIN", PLAIN, b"a3 EXAMINE INBOX"],
        ),
        (
            IMAP,
            [b"* CAPABILITY IMAP4rev1\r\na1 OK\r\n", b"a2 OK\r\n", EXAMINED + b"a3 OK\r\n"],
            [f'a2 LOGIN "{USER}" "pw-alice"'.encode(), b"a3 EXAMINE INBOX"],
        ),
        (
            POP3,
            [b"-ERR what\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK 2 320\r\n"],
            [f"USER {USER}".encode(), b"PASS pw-alice", b"STAT"],
        ),
    ],
    ids=["SMTP LOGIN", "IMAP without SASL-IR", "IMAP LOGIN", "POP3 USER"],
)
async def test_other_ways_to_log_in(
    protocol: ProtocolType, replies: list[bytes], heard: list[bytes]
) -> None:
    with scripted(dialogue(GREETING[protocol], *replies)) as server:
        session = await opened(protocol, server.port)
        await session.close()
        assert server.plain.splitlines()[1 : len(heard) + 1] == heard


async def test_imap_login_sends_as_a_literal_what_cannot_be_quoted() -> None:
    replies = (
        b"* CAPABILITY IMAP4rev1\r\na1 OK\r\n",
        b"+ go\r\n",
        b"+ go\r\n",
        b"a2 OK\r\n",
        EXAMINED + b"a3 OK\r\n",
    )
    with scripted(dialogue(GREETING[IMAP], *replies)) as server:
        session = await opened(IMAP, server.port, Secret('pä"ss'), user_id="a\\b")
        await session.close()
        expected = [b"a2 LOGIN {3}", b"a\\b {6}", 'pä"ss'.encode()]
        assert server.plain.splitlines()[1:4] == expected


async def test_preauth_counts_as_login_only_where_none_is_declared() -> None:
    script = dialogue(
        b"* PREAUTH hello\r\n", b"* CAPABILITY IMAP4rev1\r\na1 OK\r\n", b"a2 OK\r\n", b"a3 OK\r\n"
    )
    with scripted(script) as server:
        session = await opened(IMAP, server.port, authentication_flag=False)
        await session.close()
        with pytest.raises(SessionError) as caught:
            await opened(IMAP, server.port)
        assert blame(caught.value) == ("protocol", "authentication_flag")
        assert_no_secret(server.plain)


@pytest.mark.parametrize("text", ["x\r\nDELE 1", "x\ny", "x\0y", "\ud800"])
@pytest.mark.parametrize("field", ["user_id", "user_password"])
@every_protocol
async def test_nothing_can_be_smuggled_into_a_login(
    protocol: ProtocolType, field: str, text: str
) -> None:
    user, password = (text, PASSWORD) if field == "user_id" else (USER, Secret(text))
    with scripted(dialogue(GREETING[protocol], LOGIN[protocol], b"")) as server:
        with pytest.raises(SessionError) as caught:
            await opened(protocol, server.port, password, user_id=user)
        assert len(server.plain.splitlines()) <= 2  # what it can do, and goodbye
    assert blame(caught.value) == ("auth", field)
    assert "DELE" not in caught.value.failure.message
