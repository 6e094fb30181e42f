"""What the three protocols share: accounts, mailboxes, faults and counters."""

import asyncio
import hmac
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from demo.certificates import Variant


@dataclass(frozen=True, slots=True)
class Faults:
    """How the server misbehaves. Assign another to `MailServer.faults` at any time.

    A change takes effect at the next command of each session, `certificate` at the next handshake.
    """

    refuse_logins: bool = False
    """Answer every login as if the password were wrong."""
    refusal_seconds: float = 0
    """Wait this long before refusing a login, as Dovecot does (2 s) to slow down guessing."""
    busy_logins: bool = False
    """Answer every login with the temporary refusal of its protocol."""
    busy_greeting: bool = False
    """Greet with the temporary refusal of the protocol, and close."""
    silent: bool = False
    """Accept connections and never say a word."""
    seconds_per_byte: float = 0
    """Send each byte on its own, this many seconds apart."""
    close_after_bytes: int | None = None
    """Cut a session off once this many bytes were sent in it, even in the middle of a line."""
    close_after_lines: int | None = None
    """Cut a session off instead of answering its line with this number, counting from 1."""
    idle_seconds: float | None = None
    """Cut a session off when its client has been quiet for this long."""
    certificate: Variant = Variant.GOOD
    """Which certificate to show."""
    hide_starttls: bool = False
    """Neither offer nor accept STARTTLS."""
    refuse_starttls: bool = False
    """Offer STARTTLS, and refuse it with a temporary error."""
    hide_login: bool = False
    """Offer no way to log in."""
    mail_reply: str | None = None
    """The reply to MAIL FROM, such as `451 4.3.0 Try again later`."""
    recipient_reply: str | None = None
    """The reply to each RCPT TO."""
    data_reply: str | None = None
    """The reply to a whole message; it is not kept."""
    close_after_message: bool = False
    """Keep a message and close without a reply: its sender cannot know."""


@dataclass(slots=True)
class Counters:
    """What has happened since the server started."""

    connections: int = 0
    open: int = 0
    tls_failures: int = 0
    logins_ok: int = 0
    logins_refused: int = 0
    logins_busy: int = 0
    messages: int = 0


@dataclass(slots=True, eq=False)
class Message:
    """One stored message; `raw` has CRLF line ends and is never changed."""

    uid: int
    raw: bytes
    received: datetime
    flags: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Mailbox:
    """The one folder of an account, INBOX to IMAP and the maildrop to POP3."""

    uid_validity: int
    uid_next: int = 1
    messages: list[Message] = field(default_factory=list)
    drop_locked: bool = False
    watchers: set[asyncio.Event] = field(default_factory=set)

    def add(self, raw: bytes) -> Message:
        message = Message(self.uid_next, raw, datetime.now(UTC))
        self.uid_next += 1
        self.messages.append(message)
        for watcher in self.watchers:
            watcher.set()
        return message


class Login(Enum):
    OK = "ok"
    REFUSED = "refused"
    BUSY = "busy"


class State:
    """One server's accounts and mail. `accounts` (user to password) may change at any time."""

    def __init__(self, accounts: MutableMapping[str, str], faults: Faults) -> None:
        self.accounts = accounts
        self.faults = faults
        self.counters = Counters()
        self.elsewhere: list[tuple[str, bytes]] = []
        self._mailboxes: dict[str, Mailbox] = {}

    def mailbox(self, user: str) -> Mailbox:
        """The mailbox of an account; it comes into being when it is first asked for."""
        if user not in self._mailboxes:
            self._mailboxes[user] = Mailbox(uid_validity=len(self._mailboxes) + 1)
        return self._mailboxes[user]

    async def login(self, user: str, password: str) -> Login:
        """Judge a login, count it, and hold a refusal back for as long as the faults say."""
        if self.faults.busy_logins:
            self.counters.logins_busy += 1
            return Login.BUSY
        expected = self.accounts.get(user)
        right = expected is not None and hmac.compare_digest(expected.encode(), password.encode())
        if right and not self.faults.refuse_logins:
            self.counters.logins_ok += 1
            return Login.OK
        self.counters.logins_refused += 1
        await asyncio.sleep(self.faults.refusal_seconds)
        return Login.REFUSED

    def local(self, address: str) -> str | None:
        """The account that an address belongs to, without regard to case."""
        return next((user for user in self.accounts if user.lower() == address.lower()), None)

    def is_ours(self, address: str) -> bool:
        """Whether an address is in a domain that has accounts here."""
        domain = address.rpartition("@")[2].lower()
        return any(user.lower().endswith(f"@{domain}") for user in self.accounts)

    def deliver(self, recipients: list[str], raw: bytes) -> None:
        """Put a message into local mailboxes; what would have to leave is kept in `elsewhere`."""
        self.counters.messages += 1
        for recipient in recipients:
            if (user := self.local(recipient)) is not None:
                self.mailbox(user).add(raw)
            else:
                self.elsewhere.append((recipient, raw))

    def everything(self) -> Iterator[tuple[str, Message]]:
        """Every stored message with its account."""
        for user, mailbox in self._mailboxes.items():
            for message in mailbox.messages:
                yield user, message
