"""What the three protocols share: the phases of opening a session, in order, and its end."""

import ssl
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from reconciler.model import Certificate, EncryptionMode, FailureKind, Gateway, Secret
from reconciler.service.sessions import SessionError, SessionSettings
from reconciler.service.sessions.failures import fail, looks_like_tls, quoted, shorten
from reconciler.service.sessions.sasl import Credentials, credentials_of, masked
from reconciler.service.sessions.tls import context_for
from reconciler.service.sessions.transport import Wire

# How servers of other kinds begin, for the message that says what is really there.
_GREETINGS: Final = (
    (b"220", "an SMTP server"),
    (b"554", "an SMTP server"),
    (b"* ", "an IMAP server"),
    (b"+OK", "a POP3 server"),
    (b"-ERR", "a POP3 server"),
    (b"HTTP/", "a web server"),
    (b"SSH-", "an SSH server"),
)


_SILENT: Final = (
    "a port that waits silently often expects encryption_mode TLS; if this one does not, the "
    "server, or the network to it, is too slow or stuck"
)
_TLS_PORTS: Final = frozenset({465, 993, 995})  # by RFC 8314


class Phase(StrEnum):
    """The steps of opening a session, in order. With STARTTLS the greeting belongs to TLS."""

    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    CAPABILITIES = "capabilities"
    LOGIN = "login"


@dataclass(frozen=True, slots=True)
class Passed:
    """A phase that went well, in words for people; `skipped` says that it had nothing to do."""

    detail: str
    skipped: bool = False


class MailSession(ABC):
    """One session: `open` runs the phases in order; a ladder runs the same ones, one by one."""

    tls_command: ClassVar[str]

    def __init__(
        self, gateway: Gateway, password: Secret | None, settings: SessionSettings | None = None
    ) -> None:
        settings = settings or SessionSettings()
        self.gateway = gateway
        self.deadlines = settings.deadlines
        self.wire = Wire(gateway.host, gateway.port, settings)
        self._password = password
        self._greeted = False

    async def open(self) -> None:
        """Connect, encrypt, log in at most once, and open the mailbox for reading.

        Raises:
            SessionError: the session is closed again.

        """
        try:
            async with self.overall():
                for phase in Phase:
                    await self.enter(phase)
        except SessionError:
            await self.close()
            raise
        except BaseException:
            self.wire.abort()
            raise

    def overall(self) -> AbstractAsyncContextManager[None]:
        """The deadline for all phases together."""
        return self.wire.within(self.deadlines.overall, "complete a session")

    async def enter(self, phase: Phase) -> Passed:
        """Run one phase; those before it must have passed.

        Raises:
            SessionError: the phase failed; `close` is left to the caller.

        """
        match phase:
            case Phase.DNS:
                return Passed(await self.wire.resolve())
            case Phase.TCP:
                return Passed(await self.wire.connect())
            case Phase.TLS:
                return await self._encrypt()
            case Phase.CAPABILITIES:
                return await self._discover()
            case Phase.LOGIN:
                return await self._log_in()

    async def show(self, context: ssl.SSLContext, anchor: Certificate) -> tuple[bytes, ...]:
        """Connect, encrypt by a context of the caller's, and be greeted; the server's certificates.

        For a look at a server before anything is declared: nothing secret may follow, only `close`.
        `anchor` names what the context trusts.

        Raises:
            SessionError: there is no such server; `close` is left to the caller.

        """
        async with self.overall():
            await self.enter(Phase.DNS)
            await self.enter(Phase.TCP)
            if self.gateway.encryption_mode is not EncryptionMode.NONE:
                await self._start_tls(context, anchor)
            if not self._greeted:
                await self._greet()
        return self.wire.certificates

    async def close(self) -> None:
        try:
            if self._greeted and self.wire.usable:
                async with self.wire.within(self.deadlines.close, "say goodbye"):
                    await self._say_goodbye()
        except SessionError:
            pass  # the connection ends either way
        finally:
            self.wire.abort()

    async def _encrypt(self) -> Passed:
        mode = self.gateway.encryption_mode
        if mode is EncryptionMode.NONE:
            return Passed("encryption_mode is NONE: everything goes in plain text", skipped=True)
        anchor = self.gateway.certificate
        if anchor is None:
            raise fail(FailureKind.TLS, "certificate_file", "no certificate_file to check with")
        try:
            context = context_for(anchor.pem)
        except (ssl.SSLError, ValueError):
            raise fail(
                FailureKind.TLS, "certificate_file", f"{anchor.file} holds no usable certificate"
            ) from None
        return Passed(await self._start_tls(context, anchor))

    async def _start_tls(self, context: ssl.SSLContext, anchor: Certificate) -> str:
        if self.gateway.encryption_mode is EncryptionMode.STARTTLS:
            await self._greet()
            await self._learn()
            await self._request_tls()
        return await self.wire.start_tls(context, anchor)

    async def _discover(self) -> Passed:
        if not self._greeted:
            await self._greet()
        await self._learn()  # anew after TLS: what was said in plain text does not count
        return Passed(self._check_offers())

    async def _log_in(self) -> Passed:
        detail = "no login: authentication_flag is false"
        if self.gateway.authentication_flag:
            await self._authenticate(credentials_of(self.gateway, self._password))
            detail = "logged in"
        opened = await self._open_mailbox()
        skipped = not (self.gateway.authentication_flag or opened)
        return Passed(f"{detail}, {opened}" if opened else detail, skipped=skipped)

    async def _greet(self) -> None:
        async with self.wire.within(self.deadlines.greeting, "send a greeting", *self._silence()):
            await self._read_greeting()
        self._greeted = True

    def _silence(self) -> tuple[str, ...]:
        """The field, and the hint if it is not the usual one, for a server that does not greet."""
        gateway = self.gateway
        if gateway.encryption_mode is EncryptionMode.TLS:
            return ("port",)
        if gateway.port in _TLS_PORTS:
            hint = (
                f"port {gateway.port} is one for TLS from the first byte: use encryption_mode TLS"
            )
            return "encryption_mode", hint
        return "port", _SILENT

    def quote(self, raw: bytes | str) -> str:
        """A server's words for a message: cleaned, without the password, shortened."""
        text = quoted(raw if isinstance(raw, bytes) else raw.encode())
        if self._password:
            text = masked(text, self.gateway, self._password)
        return shorten(text)

    def strange_greeting(self, line: bytes) -> SessionError:
        """What is there instead of a server of our protocol."""
        self.wire.usable = False
        where, protocol = self.wire.where, self.gateway.protocol_type.value
        if looks_like_tls(line):
            return fail(
                FailureKind.PROTOCOL,
                "encryption_mode",
                f"{where} speaks TLS from the first byte",
                "use encryption_mode TLS with this port",
            )
        for start, server in _GREETINGS:
            if line.startswith(start):
                return fail(
                    FailureKind.PROTOCOL,
                    "port",
                    f"{where} is {server}, not one for {protocol}",
                    "change the port, or protocol_type",
                )
        return fail(
            FailureKind.PROTOCOL,
            "port",
            f"{where} does not greet like a server for {protocol}: {self.quote(line)}",
            "check the port",
        )

    def tls_not_offered(self) -> SessionError:
        return fail(
            FailureKind.PROTOCOL,
            "encryption_mode",
            f"{self.wire.where} does not offer {self.tls_command}",
            "use encryption_mode TLS with the server's port for it; nothing secret was sent",
        )

    def out_of_step(self, doing: str, raw: bytes | str) -> SessionError:
        """An answer that the protocol does not allow, or that leaves no way to go on."""
        return fail(
            FailureKind.PROTOCOL,
            "port",
            f"{self.wire.where} does not {doing}: {self.quote(raw)}",
        )

    @abstractmethod
    async def keep_alive(self) -> None: ...

    @abstractmethod
    async def _read_greeting(self) -> None: ...

    @abstractmethod
    async def _learn(self) -> None:
        """Ask what the server can do, and forget what it said before."""

    @abstractmethod
    async def _request_tls(self) -> None:
        """Ask for TLS; raises unless it is offered and agreed to."""

    @abstractmethod
    def _check_offers(self) -> str:
        """Raise unless the login that is declared can be made; says what is offered."""

    @abstractmethod
    async def _authenticate(self, credentials: Credentials) -> None: ...

    @abstractmethod
    async def _open_mailbox(self) -> str:
        """Open the mailbox read-only and say what is in it; nothing where there is none."""

    @abstractmethod
    async def _say_goodbye(self) -> None: ...
