"""Sessions: one open SMTP, POP3 or IMAP connection of a gateway each."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from reconciler.model import Failure, Gateway, ProtocolType, Secret

if TYPE_CHECKING:
    from reconciler.service.sessions.addresses import Resolve
    from reconciler.service.sessions.base import MailSession
    from reconciler.service.sessions.connecting import Turn


class SessionError(Exception):
    """A session could not be opened, or was lost. `failure` says which field is to blame.

    `transient` says whether trying again unchanged may help; a refused login is not transient.
    """

    def __init__(self, failure: Failure, *, transient: bool) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.transient = transient


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that each step of a session may take; a server that trickles bytes gains nothing.

    `connect` covers all addresses of a host, `command` one command and its whole reply, and
    `overall` everything until the session is open: below a minute, so that apply, which waits one
    minute, hears which field is to blame. `envelope`, `data`, `block` and `verdict` are the steps
    of handing a message over, the last its answer, for which RFC 5321 (4.5.3.2) asks such patience.
    """

    dns: float = 10
    connect: float = 15
    tls: float = 15
    greeting: float = 20
    command: float = 30
    close: float = 2
    overall: float = 50
    envelope: float = 300
    data: float = 120
    block: float = 180
    verdict: float = 600


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How sessions behave, whatever the gateway.

    With `private_hosts` False a gateway is refused whose host has a loopback, private or
    link-local address, or whose port is not one that mail servers use: a tenant must not be able
    to look around inside the network that the service runs in. No session is opened where that
    would make more than `files` of this process's files and connections. `resolve` looks hosts up,
    where that is not left to the event loop. `turn` is waited for before each connection but the
    first, where a host has several addresses.
    """

    deadlines: Deadlines = field(default_factory=Deadlines)
    private_hosts: bool = True
    files: float = math.inf
    resolve: "Resolve | None" = None
    turn: "Turn | None" = None


class Session(Protocol):
    """One connection, logged in. Every method keeps to its own deadline and raises SessionError.

    A session is used once: after `close`, or after an error, the next connection is a new session.
    """

    async def open(self) -> None: ...

    async def keep_alive(self) -> None: ...

    async def close(self) -> None:
        """Say goodbye within a short deadline and free the socket; never raises SessionError."""
        ...


def session_for(
    gateway: Gateway, password: Secret | None, settings: SessionSettings | None = None
) -> "MailSession":
    """The session that the gateway's protocol asks for; nothing is on the wire until `open`."""
    match gateway.protocol_type:
        case ProtocolType.SMTP:
            from reconciler.service.sessions.smtp import SmtpSession  # noqa: PLC0415

            return SmtpSession(gateway, password, settings)
        case ProtocolType.IMAP:
            from reconciler.service.sessions.imap import ImapSession  # noqa: PLC0415

            return ImapSession(gateway, password, settings)
        case ProtocolType.POP3:
            from reconciler.service.sessions.pop3 import Pop3Session  # noqa: PLC0415

            return Pop3Session(gateway, password, settings)
