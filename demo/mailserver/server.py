"""The server: nine listeners, one for each protocol and encryption, on loopback addresses only."""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self

from demo.certificates import Variant, write_all
from demo.mailserver.imap import ImapSession
from demo.mailserver.pop3 import Pop3Session
from demo.mailserver.session import Session
from demo.mailserver.smtp import SmtpSession
from demo.mailserver.state import Counters, Faults, Message, State
from demo.mailserver.tls import server_context
from demo.mailserver.wire import Disconnected, Wire
from reconciler.model import EncryptionMode, ProtocolType

Ports = Mapping[tuple[ProtocolType, EncryptionMode], int]

_BACKLOG: Final = 1024
_PORT_ATTEMPTS: Final = 50
_SESSIONS: Final[Mapping[ProtocolType, type[Session]]] = {
    ProtocolType.SMTP: SmtpSession,
    ProtocolType.IMAP: ImapSession,
    ProtocolType.POP3: Pop3Session,
}


class MailServer:
    """A mail server for as long as its `async with` lasts.

    `accounts` (user to password) and `faults` may be changed at any time. `hosts` are loopback
    addresses, all with the same ports; `ports` asks for given ones, else free ones are taken.
    Certificates are made in `directory`, or in a temporary one, unless they are there already; they
    are for `localhost` and the hosts. The client's trust anchor is `ca_file`.
    """

    def __init__(
        self,
        accounts: MutableMapping[str, str],
        *,
        faults: Faults | None = None,
        hosts: Sequence[str] = ("127.0.0.1",),
        ports: Ports | None = None,
        directory: Path | None = None,
    ) -> None:
        if not all(ipaddress.ip_address(host).is_loopback for host in hosts):
            raise ValueError(f"loopback addresses only: {', '.join(hosts)}")
        self.state = State(accounts, faults or Faults())
        self.hosts = tuple(hosts)
        self.ports: Ports = dict(ports or {})
        self._temporary = None if directory else TemporaryDirectory(prefix="mailserver-")
        self.directory = directory or Path(self._temporary.name if self._temporary else "")
        self._contexts: dict[Variant, ssl.SSLContext] = {}
        self._listeners: list[asyncio.Server] = []
        self._sessions: dict[asyncio.Task[None], Wire] = {}

    @property
    def accounts(self) -> MutableMapping[str, str]:
        return self.state.accounts

    @property
    def faults(self) -> Faults:
        return self.state.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.state.faults = faults

    @property
    def counters(self) -> Counters:
        return self.state.counters

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def port(self, protocol: ProtocolType, mode: EncryptionMode) -> int:
        return self.ports[protocol, mode]

    def mail(self, user: str) -> list[Message]:
        """The messages of an account, oldest first."""
        return self.state.mailbox(user).messages

    async def __aenter__(self) -> Self:
        write_all(self.directory, ("localhost", *self.hosts))
        self._contexts = {
            variant: server_context(self.directory / f"{variant}.pem") for variant in Variant
        }
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def start(self) -> None:
        """Listen, after `stop` on the same ports as before."""
        ports: dict[tuple[ProtocolType, EncryptionMode], int] = {}
        try:
            for protocol in ProtocolType:
                for mode in EncryptionMode:
                    listening = _bind(self.hosts, self.ports.get((protocol, mode), 0))
                    ports[protocol, mode] = listening[0].getsockname()[1]
                    for one in listening:
                        self._listeners.append(await self._listen(one, protocol, mode))
        except OSError:
            await self.stop()
            raise
        self.ports = ports

    async def stop(self) -> None:
        """Stop listening and cut every session off, as a crash would; mail and accounts stay."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        await self.drop_sessions()

    async def drop_sessions(self) -> None:
        """Cut every session off and go on listening."""
        sessions = dict(self._sessions)
        for task, wire in sessions.items():
            wire.abort()
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    async def _listen(
        self, listening: socket.socket, protocol: ProtocolType, mode: EncryptionMode
    ) -> asyncio.Server:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            wire = Wire(reader, writer, self.state)
            task = asyncio.ensure_future(self._serve(wire, protocol, mode))
            self._sessions[task] = wire
            task.add_done_callback(self._sessions.pop)

        return await asyncio.start_server(accept, sock=listening, backlog=_BACKLOG)

    async def _serve(self, wire: Wire, protocol: ProtocolType, mode: EncryptionMode) -> None:
        self.counters.connections += 1
        self.counters.open += 1
        try:
            if self.faults.silent:
                await wire.wait_for_nothing()
            if mode is EncryptionMode.TLS:
                await wire.start_tls(self._context())
            await _SESSIONS[protocol](wire, self.state, mode, self._context).run()
        except Disconnected:
            wire.abort()
        else:
            await wire.close()
        finally:
            self.counters.open -= 1
            wire.abort()

    def _context(self) -> ssl.SSLContext:
        return self._contexts[self.faults.certificate]


def _bind(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """One socket for each host, all on one port; port 0 stands for any that is free everywhere."""
    for attempt in range(_PORT_ATTEMPTS):
        bound: list[socket.socket] = []
        try:
            chosen = port
            for host in hosts:
                bound.append(_socket(host, chosen))
                chosen = bound[-1].getsockname()[1]
        except OSError as error:
            for one in bound:
                one.close()
            again = port == 0 and error.errno == errno.EADDRINUSE
            if not again or attempt == _PORT_ATTEMPTS - 1:
                raise
        else:
            return bound
    raise OSError(errno.EADDRINUSE, "no port is free on all hosts")


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named, or else asyncio leaves Nagle's delay on, and answers to pipelined commands wait 40 ms
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(one.close)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
        on_failure.pop_all()
    return one
