"""The demo's mail server, judged by the clients of the standard library with verified TLS."""

import asyncio
import imaplib
import poplib
import smtplib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest

from demo.certificates import Variant
from demo.mailserver import Faults, MailServer
from reconciler.model import EncryptionMode, ProtocolType

AGENT, OTHER = "agent@example.com", "zoë@example.com"
SECONDS = 10.0
NONE, STARTTLS, TLS = EncryptionMode.NONE, EncryptionMode.STARTTLS, EncryptionMode.TLS
IMAP, POP3, SMTP = ProtocolType.IMAP, ProtocolType.POP3, ProtocolType.SMTP
MODES = pytest.mark.parametrize("mode", list(EncryptionMode))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates are made once for all tests."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture
async def server(directory: Path) -> AsyncIterator[MailServer]:
    accounts = {AGENT: 'pass "word" \\', OTHER: "pässword"}
    async with MailServer(accounts, directory=directory) as running:
        yield running


def context(server: MailServer) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(server.ca_file))
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    return made


def smtp(server: MailServer, mode: EncryptionMode) -> smtplib.SMTP:
    port = server.port(SMTP, mode)
    if mode is TLS:
        return smtplib.SMTP_SSL("localhost", port, timeout=SECONDS, context=context(server))
    client = smtplib.SMTP("localhost", port, timeout=SECONDS)
    with closed_on_failure(client.close):
        if mode is STARTTLS:
            client.starttls(context=context(server))
    return client


def imap(server: MailServer, mode: EncryptionMode) -> imaplib.IMAP4:
    port = server.port(IMAP, mode)
    if mode is TLS:
        return imaplib.IMAP4_SSL(
            "localhost", port, ssl_context=context(server), timeout=int(SECONDS)
        )
    client = imaplib.IMAP4("localhost", port, timeout=int(SECONDS))
    with closed_on_failure(client.shutdown):
        if mode is STARTTLS:
            client.starttls(context(server))
    return client


def pop3(server: MailServer, mode: EncryptionMode) -> poplib.POP3:
    port = server.port(POP3, mode)
    if mode is TLS:
        return Pop3Tls("localhost", port, timeout=SECONDS, context=context(server))
    client = poplib.POP3("localhost", port, timeout=SECONDS)
    with closed_on_failure(client.close):
        if mode is STARTTLS:
            client.stls(context(server))
    return client


class Pop3Tls(poplib.POP3_SSL):
    """Closes its socket where the greeting is a refusal, which poplib forgets."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        try:
            super().__init__(*arguments, **settings)
        except poplib.error_proto:
            self.close()
            raise


@contextmanager
def closed_on_failure(close: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        close()
        raise


def letter(subject: str = "Hello", body: str = "one\n.two\n..\nthree\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "customer@example.org", AGENT, subject
    message.set_content(body)
    return message


def submit(server: MailServer, mode: EncryptionMode = TLS, **words: str) -> None:
    with smtp(server, mode) as client:
        client.login(AGENT, server.accounts[AGENT])
        client.send_message(letter(**words))


async def dialogue(
    server: MailServer, protocol: ProtocolType, mode: EncryptionMode, sent: bytes
) -> bytes:
    """All that the server answers to these bytes, sent at once in clear, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port(protocol, mode))
    writer.write(sent)
    async with asyncio.timeout(SECONDS):
        answer = b""
        with suppress(ConnectionResetError):
            while received := await reader.read(65_536):
                answer += received
    writer.close()
    return answer


@MODES
async def test_mail_sent_by_smtp_is_read_by_imap_and_pop3(
    server: MailServer, mode: EncryptionMode
) -> None:
    def story() -> None:
        submit(server, mode)
        with imap(server, mode) as client:
            client.login(AGENT, server.accounts[AGENT])
            assert client.select("INBOX")[1] == [b"1"]
            uids = client.uid("SEARCH", "UID", "1:*")[1]
            assert uids == [b"1"]
            data = client.uid("FETCH", "1", "(BODY.PEEK[])")[1]
            raw_by_imap = data[0][1]
            assert b"\\Seen" not in client.uid("FETCH", "1", "(FLAGS)")[1][0]
            client.uid("FETCH", "1", "(BODY[TEXT])")
            assert b"\\Seen" in client.uid("FETCH", "1", "(FLAGS)")[1][0]
        drop = pop3(server, mode)
        drop.user(AGENT)
        drop.pass_(server.accounts[AGENT])
        assert drop.stat()[0] == 1
        raw_by_pop3 = b"".join(line + b"\r\n" for line in drop.retr(1)[1])
        assert drop.top(1, 1)[1][-1] == b"one"
        drop.quit()
        assert raw_by_imap == raw_by_pop3 == server.mail(AGENT)[0].raw
        assert raw_by_imap.endswith(b"\r\n\r\none\r\n.two\r\n..\r\nthree\r\n")

    await asyncio.to_thread(story)
    assert server.counters.logins_ok == 3


@MODES
async def test_a_wrong_password_is_refused_in_the_words_of_real_servers(
    server: MailServer, mode: EncryptionMode
) -> None:
    def story() -> None:
        with smtp(server, mode) as client:
            client.ehlo()
            for method in ("PLAIN", "LOGIN"):
                client.user, client.password = AGENT, "wrong"
                authenticate = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[method]
                with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                    client.auth(method, authenticate)
                assert refused.value.smtp_code == 535
                assert b"5.7.8 " in cast(bytes, refused.value.smtp_error)
        with imap(server, mode) as reader:
            with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\]"):
                reader.login(AGENT, "wrong")
            assert reader.noop()[0] == "OK"
        drop = pop3(server, mode)
        drop.user("nobody@example.com")
        with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\]"):
            drop.pass_("wrong")
        drop.quit()

    await asyncio.to_thread(story)
    assert (server.counters.logins_ok, server.counters.logins_refused) == (0, 4)


async def test_names_and_passwords_beyond_ascii(server: MailServer) -> None:
    plain = f"\0{OTHER}\0{server.accounts[OTHER]}".encode()

    def story() -> None:
        with imap(server, TLS) as reader:
            assert reader.authenticate("PLAIN", lambda _: plain)[0] == "OK"
        drop = pop3(server, TLS)
        drop.user(OTHER)
        drop.pass_(server.accounts[OTHER])
        drop.quit()

    await asyncio.to_thread(story)
    assert server.counters.logins_ok == 2


@pytest.mark.parametrize(
    ("protocol", "sent", "expected"),
    [
        (SMTP, b"EHLO a\r\nAUTH PLAIN AGEAYg==\r\nQUIT\r\n", b"530 5.7.0 Must issue a STARTTLS"),
        (SMTP, b"EHLO a\r\nMAIL FROM:<a@b.c>\r\nQUIT\r\n", b"530 5.7.0 Must issue a STARTTLS"),
        (IMAP, b"1 LOGIN a b\r\n2 LOGOUT\r\n", b"1 NO [PRIVACYREQUIRED] Plaintext"),
        (IMAP, b"1 AUTHENTICATE PLAIN AGEAYg==\r\n2 LOGOUT\r\n", b"1 NO [PRIVACYREQUIRED]"),
        (POP3, b"USER a\r\nPASS b\r\nQUIT\r\n", b"-ERR [AUTH] Plaintext authentication"),
        (POP3, b"AUTH PLAIN AGEAYg==\r\nQUIT\r\n", b"-ERR [AUTH] Plaintext authentication"),
    ],
)
async def test_no_login_before_starttls(
    server: MailServer, protocol: ProtocolType, sent: bytes, expected: bytes
) -> None:
    answer = await dialogue(server, protocol, STARTTLS, sent)
    assert expected in answer
    assert b"AUTH PLAIN" not in answer
    assert server.counters.logins_refused == server.counters.logins_ok == 0


async def test_imap_says_logindisabled_until_tls_has_started(server: MailServer) -> None:
    def story() -> None:
        with imaplib.IMAP4("localhost", server.port(IMAP, STARTTLS), timeout=10) as client:
            assert {"LOGINDISABLED", "STARTTLS"} <= set(client.capabilities)
            client.starttls(context(server))
            assert {"AUTH=PLAIN", "SASL-IR"} <= set(client.capabilities)
            assert not {"LOGINDISABLED", "STARTTLS"} & set(client.capabilities)

    await asyncio.to_thread(story)


async def test_what_is_sent_in_clear_after_starttls_is_not_obeyed(server: MailServer) -> None:
    """RFC 3207, 4.2: else a man in the middle could put commands into the secure session."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port(SMTP, STARTTLS))
    writer.write(b"EHLO a\r\nSTARTTLS\r\nMAIL FROM:<evil@example.com>\r\n")
    async with asyncio.timeout(SECONDS):
        await reader.readuntil(b"220 2.0.0 Ready to start TLS\r\n")
        writer.write(b"MAIL FROM:<evil@example.com>\r\n")
        assert b"2.1.0" not in await reader.read()
    writer.close()
    assert server.counters.tls_failures == 1


async def test_imap_login_with_literals(server: MailServer) -> None:
    password = server.accounts[AGENT].encode()
    waiting = b"1 LOGIN {%d}\r\n%s {%d+}\r\n%s\r\n" % (
        len(AGENT),
        AGENT.encode(),
        len(password),
        password,
    )
    answer = await dialogue(server, IMAP, NONE, waiting + b"2 LOGOUT\r\n")
    assert answer.count(b"+ OK\r\n") == 1
    assert b"1 OK [CAPABILITY" in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"1 FETCH\r\n",
        b"1 LOGIN (a b\r\n",
        b"1 LOGIN a)\r\n",
        b'1 LOGIN "a b\r\n',
        b"1 LOGIN a {99999999}\r\n",
        b"1 LOGIN " + b"(" * 100 + b"\r\n",
        b"1 AUTHENTICATE PLAIN !!!\r\n",
        b"1\r\n",
        b"1 \xff\xfe\r\n",
        b"1 UID SEARCH NOT\r\n",
        b"1 UID SEARCH UID\r\n",
        b"1 UID SEARCH (\xff)\r\n",
        b"1 UID SEARCH {4+}\r\na\r\nb\r\n",
        b"1 UID FETCH 1 (BODY[\xff])\r\n",
        b"1 FETCH 7 FLAGS\r\n",
    ],
)
async def test_bad_imap_is_answered_and_survived(server: MailServer, sent: bytes) -> None:
    if b"SEARCH" in sent or b"FETCH " in sent:
        server.accounts["a@b"] = "c"
        server.state.deliver(["a@b"], b"Subject: x\r\n\r\n")
        sent = b"0 LOGIN a@b c\r\n0 SELECT INBOX\r\n" + sent
    answer = await dialogue(server, IMAP, NONE, sent + b"2 LOGOUT\r\n")
    assert b"1 BAD Error in IMAP command" in answer
    assert b"2 OK Logout completed." in answer


async def test_idle_tells_of_new_mail(server: MailServer) -> None:
    host, port = "127.0.0.1", server.port(IMAP, NONE)
    reader, writer = await asyncio.open_connection(host, port)
    server.accounts["a@b"] = "c"

    async def expect(text: bytes) -> None:
        async with asyncio.timeout(SECONDS):
            while text not in await reader.readline():
                pass

    writer.write(b"1 LOGIN a@b c\r\n2 SELECT INBOX\r\n3 IDLE\r\n")
    await expect(b"+ idling")
    server.state.deliver(["a@b"], b"Subject: x\r\n\r\n")
    await expect(b"* 1 EXISTS")
    server.mail("a@b").clear()
    server.state.deliver(["a@b"], b"Subject: y\r\n\r\n")
    await expect(b"* 1 EXPUNGE")
    await expect(b"* 1 EXISTS")
    writer.write(b"DONE\r\n4 UID SEARCH UID 9:*\r\n")
    await expect(b"3 OK Idle completed.")
    await expect(b"* SEARCH 2\r\n")  # * is the last message even where 9 is above it
    writer.close()


async def test_fetch_of_fields_and_of_a_part(server: MailServer) -> None:
    def story() -> None:
        submit(server)
        with imap(server, TLS) as client:
            client.login(AGENT, server.accounts[AGENT])
            client.select("INBOX", readonly=True)
            fields = "(RFC822.SIZE BODY[HEADER.FIELDS (Subject From)] BODY[TEXT]<5.4>)"
            data: list[Any] = client.fetch("1", fields)[1]
            assert data[0][1] == b"From: customer@example.org\r\nSubject: Hello\r\n\r\n"
            assert data[1][0].endswith(b"BODY[TEXT]<5> {4}")
            assert data[1][1] == b".two"
            assert client.search(None, "UNSEEN")[1] == [b"1"]
            assert client.search(None, "NOT", "UNSEEN")[1] == [b""]

    await asyncio.to_thread(story)


async def test_the_maildrop_is_locked_by_one_session(server: MailServer) -> None:
    def story() -> None:
        submit(server)
        first = pop3(server, TLS)
        first.user(AGENT)
        first.pass_(server.accounts[AGENT])
        second = pop3(server, TLS)
        second.user(AGENT)
        with pytest.raises(poplib.error_proto, match=r"-ERR \[IN-USE\]"):
            second.pass_(server.accounts[AGENT])
        second.close()
        first.dele(1)
        assert first.stat()[0] == 0
        first.rset()
        assert first.stat()[0] == 1
        first.quit()
        third = pop3(server, TLS)
        third.user(AGENT)
        third.pass_(server.accounts[AGENT])
        third.quit()

    await asyncio.to_thread(story)
    assert len(server.mail(AGENT)) == 1


@pytest.mark.parametrize(
    ("recipient", "logged_in", "expected"),
    [
        (AGENT.upper(), False, 250),
        ("nobody@example.com", True, 550),
        ("someone@elsewhere.org", False, 554),
        ("someone@elsewhere.org", True, 250),
    ],
)
async def test_who_may_be_written_to(
    server: MailServer, recipient: str, *, logged_in: bool, expected: int
) -> None:
    def story() -> int:
        with smtp(server, TLS) as client:
            client.ehlo()
            if logged_in:
                client.login(AGENT, server.accounts[AGENT])
            client.mail("customer@example.org")
            return client.rcpt(recipient)[0]

    assert await asyncio.to_thread(story) == expected


async def test_a_bare_line_feed_cannot_smuggle_a_second_message(server: MailServer) -> None:
    sent = f"EHLO a\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<{AGENT}>\r\nDATA\r\nSubject: x\r\n\r\n"
    answer = await dialogue(server, SMTP, NONE, sent.encode() + b"text\n.\r\nMAIL FROM:<>\r\n")
    assert b"521 5.5.2" in answer
    assert server.mail(AGENT) == []


async def test_a_changed_password_counts_at_once(server: MailServer) -> None:
    before = server.accounts[AGENT]
    server.accounts[AGENT] = "changed"

    def story() -> None:
        with smtp(server, TLS) as client:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login(AGENT, before)
            client.login(AGENT, "changed")

    await asyncio.to_thread(story)


def login_smtp(server: MailServer) -> None:
    with smtp(server, TLS) as client:
        client.login(AGENT, server.accounts[AGENT])


def login_imap(server: MailServer) -> None:
    with imap(server, TLS) as client:
        client.login(AGENT, server.accounts[AGENT])


def login_pop3(server: MailServer) -> None:
    client = pop3(server, TLS)
    try:
        client.user(AGENT)
        client.pass_(server.accounts[AGENT])
    finally:
        client.close()


LOGINS = pytest.mark.parametrize("log_in", [login_smtp, login_imap, login_pop3])
CLIENT_ERRORS = (smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto, OSError)


@LOGINS
@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(refuse_logins=True), r"535|AUTHENTICATIONFAILED|\[AUTH\]"),
        (Faults(busy_logins=True), r"454|UNAVAILABLE|SYS/TEMP"),
        (Faults(busy_greeting=True), r"421|UNAVAILABLE|SYS/TEMP"),
        (Faults(certificate=Variant.EXPIRED), "certificate has expired"),
        (Faults(certificate=Variant.OTHER_CA), "unable to get local issuer|self-signed"),
        (Faults(certificate=Variant.WRONG_NAME), "Hostname mismatch"),
        (Faults(close_after_bytes=3), "closed|EOF|reset|line|violation|not connected"),
        (Faults(close_after_lines=1), "closed|EOF|reset|line"),
        (Faults(hide_login=True), "not supported|LOGINDISABLED|PRIVACY|Unknown command|aborted"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value)[7:60],
)
async def test_faults(
    server: MailServer, log_in: Callable[[MailServer], None], faults: Faults, words: str
) -> None:
    server.faults = faults
    with pytest.raises(CLIENT_ERRORS, match=words):
        await asyncio.to_thread(log_in, server)
    assert server.counters.logins_ok == 0
    server.faults = Faults()
    await asyncio.to_thread(log_in, server)
    assert server.counters.logins_ok == 1


@pytest.mark.parametrize("mode", [NONE, TLS])
async def test_a_silent_server_accepts_and_says_nothing(
    server: MailServer, mode: EncryptionMode
) -> None:
    server.faults = Faults(silent=True)
    with socket.create_connection(("127.0.0.1", server.port(SMTP, mode)), timeout=0.2) as client:
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(client.recv, 1)
        assert server.counters.open == 1


async def test_a_slow_server_sends_byte_by_byte(server: MailServer) -> None:
    server.faults = Faults(seconds_per_byte=0.01, idle_seconds=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port(POP3, NONE))
    async with asyncio.timeout(SECONDS):
        assert len(await reader.read(100)) < len(b"+OK Ready.\r\n")
        assert (await reader.read()).endswith(b"\r\n")  # and the quiet client is cut off
    writer.close()


@pytest.mark.parametrize("faults", [Faults(hide_starttls=True), Faults(refuse_starttls=True)])
async def test_starttls_that_is_not_to_be_had(server: MailServer, faults: Faults) -> None:
    server.faults = faults
    for connect in (smtp, imap, pop3):
        with pytest.raises(CLIENT_ERRORS):
            await asyncio.to_thread(connect, server, STARTTLS)
    for protocol, ask in ((SMTP, b"EHLO a"), (IMAP, b"1 CAPABILITY"), (POP3, b"CAPA")):
        ends = {SMTP: b"QUIT", IMAP: b"2 LOGOUT", POP3: b"QUIT"}
        answer = await dialogue(
            server, protocol, STARTTLS, ask + b"\r\n" + ends[protocol] + b"\r\n"
        )
        offered = b"STLS" if protocol is POP3 else b"STARTTLS"
        assert (offered in answer) is faults.refuse_starttls


@pytest.mark.parametrize(
    ("faults", "stored"),
    [
        (Faults(mail_reply="451 4.3.0 Try again later"), 0),
        (Faults(recipient_reply="450 4.2.0 Greylisted"), 0),
        (Faults(recipient_reply="550 5.7.1 No"), 0),
        (Faults(data_reply="552 5.2.2 Mailbox full"), 0),
        (Faults(close_after_message=True), 1),
    ],
)
async def test_replies_to_a_message(server: MailServer, faults: Faults, stored: int) -> None:
    server.faults = faults
    with pytest.raises(smtplib.SMTPException) as failed:
        await asyncio.to_thread(submit, server)
    reply = faults.mail_reply or faults.recipient_reply or faults.data_reply or "closed"
    assert reply.split(" ", 1)[1 if reply[0].isdigit() else 0] in str(failed.value)
    assert len(server.mail(AGENT)) == stored


async def test_a_restart_keeps_ports_and_mail_and_loses_sessions(server: MailServer) -> None:
    ports = dict(server.ports)
    await asyncio.to_thread(submit, server)
    client = await asyncio.to_thread(imap, server, TLS)
    await server.stop()
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        await asyncio.to_thread(client.noop)
    client.shutdown()
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(login_imap, server)
    await server.start()
    assert server.ports == ports
    await asyncio.to_thread(login_imap, server)
    assert len(server.mail(AGENT)) == 1
    assert server.counters.open == 0


async def test_several_loopback_addresses_share_their_ports() -> None:
    async with MailServer({AGENT: "x"}, hosts=("127.0.0.2", "127.0.0.3", "::1")) as server:
        for host in ("127.0.0.2", "127.0.0.3", "::1"):
            anchored = context(server)
            reader, writer = await asyncio.open_connection(
                host, server.port(IMAP, TLS), ssl=anchored
            )
            assert (await reader.readline()).startswith(b"* OK")
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def test_no_address_but_loopback() -> None:
    with pytest.raises(ValueError, match="loopback"):
        MailServer({}, hosts=("0.0.0.0",))  # noqa: S104 - refused is what it is


async def test_logins_in_parallel(server: MailServer) -> None:
    """A small share of the load that the server is made for."""
    anchored, together = context(server), asyncio.Semaphore(32)
    word = server.accounts[AGENT].replace("\\", "\\\\").replace('"', '\\"')

    async def log_in() -> None:
        async with together:
            reader, writer = await asyncio.open_connection(
                "localhost", server.port(IMAP, TLS), ssl=anchored
            )
            writer.write(f'1 LOGIN {AGENT} "{word}"\r\n2 LOGOUT\r\n'.encode())
            assert b"2 OK" in await reader.read()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    await asyncio.gather(*(log_in() for _ in range(100)))
    assert server.counters == replace(server.counters, logins_ok=100, connections=100, open=0)
