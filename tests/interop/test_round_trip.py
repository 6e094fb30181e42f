"""From a declaration to a customer's mailbox and back, through real servers and real processes."""

import itertools
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from typing import Self

import pytest

from reconciler.model import EncryptionMode
from tests.interop.round_trip import (
    EVERY_NAME,
    MAILBOXES,
    SECONDS,
    SENDER_NAME,
    Scene,
    digest,
    name_of,
    scene,
    until,
)
from tests.rig import MailRig
from tests.rig.gateways import IMAP, NONE, POP3, SMTP, STARTTLS, TLS
from tests.service.mail.incoming import mail

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

SUBJECT = "您的问题 关于订单 № 2024-㐀𠀀"
TEXT = "您好\n\n您的订单已经发货。\n.\n此致\n敬礼 㐀𠀀\n"
ATTACHED = bytes(range(256)) * 40
FLOOD = 20

each_encryption = pytest.mark.parametrize("mode", list(MAILBOXES))


@pytest.fixture(scope="module")
def there(rig: MailRig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """All nine gateways, applied once; every test leaves them connected."""
    with scene(rig, tmp_path_factory.mktemp("round-trip")) as found:
        (found.world.root / "回执.pdf").write_bytes(ATTACHED)
        applied = found.run("apply", "--yes", "--format", "json")
        assert applied.code == 0, applied.out + applied.err
        assert applied.events()[-1]["done"] == len(EVERY_NAME)
        yield found
        assert found.service.end() == 0
        until(lambda: not any(map(found.imap_sessions, MAILBOXES)), "Dovecot has a session left")


def test_all_are_connected_and_there_is_nothing_left_to_do(there: Scene) -> None:
    assert there.statuses() == dict.fromkeys(EVERY_NAME, "succeeded")
    assert [len(there.imap_sessions(mode)) for mode in MAILBOXES] == [1, 1, 1]
    assert there.run("plan", "--detailed-exitcode").code == 0
    assert there.read("plan", "--refresh", "--detailed-exitcode").code == 0


@each_encryption
def test_sent_delivered_and_received(there: Scene, mode: EncryptionMode) -> None:
    out, mailbox = name_of(SMTP, mode), MAILBOXES[mode]
    before = len(there.delivered(mode))

    options = ("--subject", SUBJECT, "--text", TEXT, "--attach", "回执.pdf")
    answer = there.send(out, mailbox, "agent", *options)
    agent = there.until_delivered(mode, answer["message_id"])
    parsed = agent.parsed
    assert parsed["Return-Path"].strip() == f"<{mailbox}>"
    (sender,) = parsed["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (SENDER_NAME, mailbox)
    assert parsed["Subject"] == SUBJECT
    assert agent.head.isascii()
    body = parsed.get_body(("plain",))
    assert body
    assert str(body.get_content_charset()).upper() == "GB18030"
    content = body.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert content.decode("gb18030").replace("\r\n", "\n") == TEXT
    (attached,) = parsed.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("回执.pdf", ATTACHED)

    answer = there.send(out, mailbox, "notification", "--subject", "n", "--text", "n")
    notice = there.until_delivered(mode, answer["message_id"])
    assert f"From: {mailbox}\r\n".encode() in notice.raw

    there.post(mode, mail(int(mode is NONE) + 2 * int(mode is TLS), Subject="Mixed"))
    customer = next(
        one["message_id"]
        for one in there.until_inbox(name_of(IMAP, mode), before + 3)
        if one["subject"] == "Mixed"
    )
    reply = ("--subject", "Re: Mixed", "--text", TEXT, "--in-reply-to", customer)
    answer = there.send(out, mailbox, "agent", *reply)
    replied = there.until_delivered(mode, answer["message_id"]).parsed
    assert replied["In-Reply-To"].strip() == replied["References"].strip() == customer

    in_dovecot = Counter(digest(one.raw) for one in there.delivered(mode))
    assert in_dovecot.total() == before + 4
    there.look_again(name_of(POP3, mode))
    senders = {"imap": "Alice.B@Example.COM", "pop3": "alice.b@example.com"}
    for protocol in (IMAP, POP3):
        name = name_of(protocol, mode)
        found = there.until_inbox(name, before + 4)
        assert Counter(digest(there.raw(name, one["id"])) for one in found) == in_dovecot
        assert {one["from"] for one in found} == {mailbox, senders[str(protocol).lower()]}
        assert {SUBJECT, "n", "Mixed", "Re: Mixed"} <= {one["subject"] for one in found}
        assert not [one["defects"] for one in found if one["defects"]]
    assert there.planned() == []


def test_what_the_buttons_do_is_seen_by_the_mail_servers(there: Scene) -> None:
    (session,) = there.imap_sessions(NONE)
    gone = there.smtp_log(TLS, "disconnect from .* quit=1")
    assert there.run("disconnect", "imap-none", "smtp-tls").code == 0
    until(lambda: not there.imap_sessions(NONE), "Dovecot still has the session")
    until(lambda: there.smtp_log(TLS, "disconnect from .* quit=1") > gone, "Postfix heard no QUIT")
    expected = dict.fromkeys(EVERY_NAME, "succeeded")
    expected |= {"imap-none": "disconnected", "smtp-tls": "disconnected"}
    assert there.statuses() == expected
    assert there.run("plan", "--detailed-exitcode").code == 2
    assert [
        (name, action, reason.rpartition(" at ")[0]) for name, action, reason in there.planned()
    ] == [
        ("imap-none", "rebuild", "disconnected by hand by tester"),
        ("smtp-tls", "rebuild", "disconnected by hand by tester"),
    ]

    connected = there.smtp_log(TLS, "connect from ")
    assert there.run("apply", "--yes").code == 0
    assert there.statuses() == dict.fromkeys(EVERY_NAME, "succeeded")
    assert there.planned() == []
    (again,) = there.imap_sessions(NONE)
    assert there.smtp_log(TLS, "connect from ") == connected + 1

    assert there.run("rebuild", "imap-none").code == 0
    until(lambda: len(there.imap_sessions(NONE)) == 1, "two sessions, or none")
    assert there.imap_sessions(NONE) not in ([session], [again])
    assert there.planned() == []


class Flood:
    """Messages given to the API one after the other, from a thread, until it does not answer.

    `accepted` are the ids of those that it has taken, by subject; `unanswered` is the last subject.
    """

    def __init__(self, there: Scene, mode: EncryptionMode, token: str) -> None:
        self.accepted: dict[str, str] = {}
        self.unanswered = ""
        self._there, self._mode, self._token = there, mode, token
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(SECONDS)

    def _run(self) -> None:
        with suppress(OSError, HTTPException):
            for number in itertools.count():
                self.unanswered = f"flood-{number}"
                self.accepted[self.unanswered] = self._give(self.unanswered)

    def ask_again(self) -> None:
        """Give what was not answered once more, with the key that it was given with before."""
        assert self.unanswered not in self.accepted
        self.accepted[self.unanswered] = self._give(self.unanswered)

    def _give(self, subject: str) -> str:
        name = name_of(SMTP, self._mode)
        answer = self._there.service.ask(
            "POST",
            f"/v1/gateways/{name}/messages",
            {
                "kind": "agent",
                "to": [MAILBOXES[self._mode]],
                "subject": subject,
                "text": TEXT,
            },
            token=self._token,
            Idempotency_Key=f"{name}-{subject}",
        )
        assert answer.status == 202, answer.body
        return str(answer.json()["id"])

    def states(self) -> dict[str, str]:
        """What the service says has become of each."""
        path = f"/v1/gateways/{name_of(SMTP, self._mode)}/outbox/"
        return {
            subject: self._there.service.ask("GET", path + one, token=self._token).json()["state"]
            for subject, one in self.accepted.items()
        }


def test_killed_while_it_sends_and_receives(there: Scene) -> None:
    """Accepted is sent, delivered is received, and neither twice; nobody has to reconnect."""
    token = there.token("send")
    with Flood(there, STARTTLS, token) as flood:
        until(lambda: len(flood.accepted) >= FLOOD, "the API takes nothing")
        there.service.end(signal.SIGKILL)
    there.post(STARTTLS, mail(99, Subject="meanwhile"))
    there.start()
    flood.ask_again()
    until(lambda: "queued" not in flood.states().values(), "something is queued for ever")
    states = flood.states()
    unknown = {subject for subject, state in states.items() if state == "unknown"}
    assert set(states.values()) <= {"sent", "unknown"}
    assert len(unknown) <= 1, "one message was under way, and only its fate may be unknown"

    until(lambda: there.statuses() == dict.fromkeys(EVERY_NAME, "succeeded"), "not reconnected")
    until(lambda: [len(there.imap_sessions(one)) for one in MAILBOXES] == [1, 1, 1], "sessions")
    assert there.planned() == []

    def arrived() -> Counter[str]:
        return Counter(one.parsed["Subject"] for one in there.delivered(STARTTLS))

    surely = {*flood.accepted, "meanwhile"} - unknown
    until(lambda: surely <= set(arrived()), "something that was sent is lost")
    assert {subject: arrived()[subject] for subject in surely} == dict.fromkeys(surely, 1)
    assert all(arrived()[subject] <= 1 for subject in unknown)

    there.look_again("pop3-starttls")
    in_dovecot = Counter(one.parsed["Message-ID"].strip() for one in there.delivered(STARTTLS))
    for name in ("imap-starttls", "pop3-starttls"):
        found = there.until_inbox(name, in_dovecot.total())
        assert Counter(one["message_id"] for one in found) == in_dovecot
