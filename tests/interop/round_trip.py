"""A declared project, the service that holds its gateways, and the mail servers they are on."""

import email
import email.policy
import hashlib
import json
import re
import smtplib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

from demo.mailserver.process import ServerProcess
from reconciler.model import EncryptionMode, ProtocolType
from tests.cli.inside import inside
from tests.cli.served import Served, served
from tests.cli.world import Ran, World
from tests.rig import MailRig
from tests.rig.gateways import NONE, PORTS, SMTP, STARTTLS, TLS
from tests.rig.ports import free_ports
from tests.service.mail.dovecot import DovecotMailbox

SECONDS = 60.0
SENDER_NAME = '客服, 支持 "一"'
MAILBOXES = {
    NONE: "alice@example.test",
    STARTTLS: "bob@example.test",
    TLS: "long@example.test",
}
"""Each encryption has a mailbox of its own: where a message is says how it came there."""


def name_of(protocol: ProtocolType, mode: EncryptionMode) -> str:
    return f"{protocol}-{mode}".lower()


EVERY_NAME = sorted(name_of(protocol, mode) for protocol, mode in PORTS)


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@dataclass(frozen=True)
class Mail:
    """A message as the mail server has it."""

    raw: bytes

    @property
    def parsed(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]


@dataclass(frozen=True)
class _Anchor:
    """All that a world asks of its server, where the gateways are written out."""

    ca_file: Path


class Scene:
    """`run` starts a process of the command line; `read` is the same in this process, to poll."""

    def __init__(self, rig: MailRig, folder: Path, stack: ExitStack) -> None:
        self.rig = rig
        self.world = _project(rig, folder)
        self.port = free_ports(["http"])["http"]
        self._database = folder / "service" / "platform.db"
        self._stack = stack
        self._services: list[Served] = []
        self.start()

    @property
    def service(self) -> Served:
        return self._services[-1]

    def start(self) -> None:
        """Start the service, on the same database and the same port each time."""
        options = ("--private-hosts", "allow", "--listen", f"127.0.0.1:{self.port}")
        self._services.append(self._stack.enter_context(served(self._database, *options)))

    def token(self, role: str) -> str:
        """As an operator makes one, beside the running service."""
        arguments = ("--database", str(self._database), "--tenant", "acme", "--role", role)
        made = self.world.run("token", "new", *arguments, "--url", self.service.url)
        assert made.code == 0, made.err
        return made.out.strip()

    def settle_in(self) -> None:
        """Have the project live on the service."""
        self._apply, self._send = self.token("apply"), self.token("send")
        self.world.settings["targets"] = {
            "production": {
                "platform": "http",
                "url": self.service.url,
                "tenant": "acme",
                "token": {"env": "GATEWAYS_TOKEN"},
            }
        }
        self.world.write_settings()

    def run(self, *arguments: str) -> Ran:
        return self._clean(self.world.run(*arguments, GATEWAYS_TOKEN=self._token(arguments)))

    def read(self, *arguments: str) -> Ran:
        return self._clean(inside(self.world, *arguments, GATEWAYS_TOKEN=self._token(arguments)))

    def _token(self, arguments: Sequence[str]) -> str:
        return self._send if arguments[0] in {"send", "inbox"} else self._apply

    def _clean(self, ran: Ran) -> Ran:
        self.expect_no_password(ran.out + ran.err)
        return ran

    def expect_no_password(self, text: str) -> None:
        said = [user for user, password in self.rig.users.items() if password in text]
        assert not said

    def send(self, gateway: str, to: str, kind: str, *options: str) -> Any:
        """Send a message and wait until the mail server has it."""
        arguments = ("send", gateway, "--to", to, "--kind", kind, *options)
        sent = self.run(*arguments, "--wait", "--format", "json")
        assert sent.code == 0, sent.out + sent.err
        return sent.json("send")

    def inbox(self, gateway: str) -> list[dict[str, Any]]:
        found = self.read("inbox", gateway, "--format", "json")
        assert found.code == 0, found.err
        return list(found.json("inbox")["messages"])

    def until_inbox(self, gateway: str, count: int) -> list[dict[str, Any]]:
        """What a gateway has taken in, once it is that many."""
        until(lambda: len(self.inbox(gateway)) >= count, f"{count} messages of {gateway}")
        return self.inbox(gateway)

    def raw(self, gateway: str, message: str) -> bytes:
        shown = self.read("inbox", gateway, "--raw", message)
        assert shown.code == 0, shown.err
        return shown.out.encode()

    def look_again(self, gateway: str) -> None:
        """A maildrop is looked at once a minute, and at once when its gateway is rebuilt."""
        assert self.run("rebuild", gateway).code == 0

    def statuses(self) -> dict[str, str]:
        found = self.read("status", "--format", "json").json("status")["gateways"]
        return {one["name"]: one["status"] for one in found}

    def planned(self) -> list[tuple[str, str, str]]:
        """What a plan would do, and why."""
        plan = self.read("plan", "--format", "json").json("plan")
        return [(one["gateway"], one["action"], one["reason"]) for one in plan["changes"]]

    # what the mail servers see

    def mailbox(self, mode: EncryptionMode) -> DovecotMailbox:
        return DovecotMailbox(self.rig, MAILBOXES[mode])

    def delivered(self, mode: EncryptionMode) -> list[Mail]:
        """Every message of a mailbox, as Dovecot has it."""
        with self.mailbox(mode).session(read_only=True) as session:
            numbers = session.search(None, "ALL")[1][0].split()
            found = [session.fetch(one, "(BODY.PEEK[])")[1][0] for one in numbers]
        return [Mail(one[1]) for one in found if isinstance(one, tuple)]

    def until_delivered(self, mode: EncryptionMode, message_id: str) -> Mail:
        def found() -> list[Mail]:
            return [
                one
                for one in self.delivered(mode)
                if one.parsed["Message-ID"].strip() == message_id
            ]

        until(found, f"{message_id} in {MAILBOXES[mode]}")
        (only,) = found()
        return only

    def imap_sessions(self, mode: EncryptionMode) -> list[str]:
        """The processes of Dovecot that hold an IMAP session of that mailbox."""
        lines = self.mailbox(mode).doveadm("who", "-1", MAILBOXES[mode]).splitlines()[1:]
        return [line.split()[2] for line in lines if line.split()[1] == "imap"]

    def smtp_log(self, mode: EncryptionMode, what: str) -> int:
        """How many lines of that kind Postfix has written of its listener for that encryption."""
        pattern = rf"postfix/{PORTS[SMTP, mode]}/smtpd\[\d+\]: {what}"
        log = (self.rig.folder / "postfix.log").read_text(errors="replace")
        return len(re.findall(pattern, log))

    def post(self, mode: EncryptionMode, raw: bytes) -> None:
        """Somebody else's message, handed to Postfix directly."""
        with smtplib.SMTP("127.0.0.1", self.rig.ports["smtp"]) as client:
            client.sendmail("customer@example.com", [MAILBOXES[mode]], raw)

    def end(self) -> None:
        """Nothing that any of the services has said holds a password."""
        self.expect_no_password(
            json.dumps([one.lines for one in self._services], ensure_ascii=False)
        )


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@contextmanager
def scene(rig: MailRig, folder: Path) -> Iterator[Scene]:
    for user in MAILBOXES.values():
        DovecotMailbox(rig, user).clear()
    with ExitStack() as stack:
        found = Scene(rig, folder, stack)
        found.settle_in()
        yield found
        found.end()


def _project(rig: MailRig, folder: Path) -> World:
    """Three gateways for each encryption: one sends, two receive what is in one mailbox."""
    anchor = folder / "rig.pem"
    anchor.write_text(rig.authority.certificate)
    world = World(folder / "project", cast("ServerProcess", _Anchor(anchor)))
    world.passwords = {str(mode): rig.users[user] for mode, user in MAILBOXES.items()}
    world.write_secrets()
    for mode in MAILBOXES:
        gateways = {name_of(way[0], mode): _fields(rig, *way) for way in PORTS if way[1] is mode}
        world.declare(gateways, f"{mode}.yaml".lower())
    return world


def _fields(rig: MailRig, protocol: ProtocolType, mode: EncryptionMode) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "protocol_type": str(protocol),
        "encryption_mode": str(mode),
        "host": "localhost",
        "port": rig.ports[PORTS[protocol, mode]],
        "user_id": MAILBOXES[mode],
        "user_password": {"secret": str(mode)},
    }
    if mode is not NONE:
        fields["certificate_file"] = "certs/root.pem"
    match protocol:
        case ProtocolType.SMTP:
            sender = {
                "default_email_address": MAILBOXES[mode],
                "default_user_name": SENDER_NAME,
                "encoding_mode": "GB18030",
            }
            return fields | sender
        case ProtocolType.IMAP:
            return fields | {"receive_from": "all", "case_sensitivity": True}
        case ProtocolType.POP3:
            return fields | {"receive_from": "all"}
