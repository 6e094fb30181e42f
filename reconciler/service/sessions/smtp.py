"""SMTP as a client for submission speaks it (RFC 5321, 3207, 4954)."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from reconciler.model import FailureKind
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.base import MailSession
from reconciler.service.sessions.failures import fail, words_of
from reconciler.service.sessions.sasl import (
    Credentials,
    login_not_offered,
    login_refused,
    server_busy,
)

MAX_COMMAND: Final = 510  # without CRLF (RFC 5321 4.5.3.1.4): what is longer waits to be asked for

_READY: Final = 220
_OK: Final = 250
_CHALLENGE: Final = 334
_LOGGED_IN: Final = 235
_TRY_LATER: Final = 400
_GOODBYE: Final = 421
_PERMANENT: Final = 500
_NEEDS_TLS: Final = 538
_REFUSED: Final = frozenset({534, 535, _NEEDS_TLS, 550, 553, 554})  # 55x: seen at large providers


@dataclass(frozen=True, slots=True)
class Reply:
    code: int
    lines: tuple[bytes, ...]

    @property
    def text(self) -> bytes:
        return str(self.code).encode() + b" " + b" ".join(self.lines)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Whom a message is from and for; `size` is its bytes, `utf8` that it needs SMTPUTF8."""

    sender: str
    recipients: tuple[str, ...]
    size: int
    utf8: bool = False


class SmtpSession(MailSession):
    tls_command = "STARTTLS"

    extensions: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """What the server said to EHLO: keyword to parameters, in upper case; none before it."""

    plain = False
    """Whether extensions are left alone: the server offered one and then did not understand it."""

    unfinished = False
    """Whether a message was begun that must be taken back before the next one."""

    announced: Envelope | None = None
    """The envelope that has gone out with the end of the message before, its replies unread."""

    async def keep_alive(self) -> None:
        reply = await self._command("NOOP")
        if reply.code != _OK:
            raise self.out_of_step("answer NOOP", reply.text)

    async def _read_greeting(self) -> None:
        reply = await self.read_reply(greeting=True)
        if reply.code >= _PERMANENT:
            raise fail(
                FailureKind.PROTOCOL,
                "host",
                f"{self.wire.where} takes no mail from here: {self.quote(reply.text)}",
                "the server's operator must allow this address",
            )
        if reply.code >= _TRY_LATER:
            raise server_busy(self.wire.where, self.quote(reply.text))
        if reply.code != _READY:
            raise self.strange_greeting(reply.text)

    async def _learn(self) -> None:
        self.extensions = {}
        address = self.wire.local_address
        literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        reply = await self._command(f"EHLO {literal}")  # needs no name of ours (RFC 5321 4.1.3)
        if _TRY_LATER <= reply.code < _PERMANENT:
            raise server_busy(self.wire.where, self.quote(reply.text))
        if reply.code != _OK:
            raise self.out_of_step("speak ESMTP", reply.text)
        extensions: dict[str, tuple[str, ...]] = {}
        for line in reply.lines[1:]:  # the first is its name; "AUTH=" is how old servers spell it
            words = words_of(line.upper().replace(b"AUTH=", b"AUTH "))
            if words:
                extensions[words[0]] = extensions.get(words[0], ()) + tuple(words[1:])
        self.extensions = extensions

    async def _request_tls(self) -> None:
        if "STARTTLS" not in self.extensions:
            raise self.tls_not_offered()
        self.extensions = {}
        reply = await self._command("STARTTLS")
        if reply.code != _READY:
            raise self.tls_not_offered()

    def _check_offers(self) -> str:
        offered = self.extensions.get("AUTH", ())
        if self.gateway.authentication_flag and not {"PLAIN", "LOGIN"} & set(offered):
            raise login_not_offered(self.wire.where, encrypted=self.wire.encrypted)
        return "login by " + ", ".join(offered) if offered else "no login offered, none needed"

    async def _authenticate(self, credentials: Credentials) -> None:
        if "PLAIN" in self.extensions.get("AUTH", ()):
            reply = await self._plain(credentials)
        else:
            reply = await self._command("AUTH LOGIN")
            for answer in (b64encode(credentials.user), b64encode(credentials.password)):
                if reply.code == _CHALLENGE:
                    reply = await self._answer(answer)
        if reply.code != _LOGGED_IN:
            raise self._login_failure(reply)

    async def _plain(self, credentials: Credentials) -> Reply:
        message = credentials.plain
        if len(b"AUTH PLAIN " + message) <= MAX_COMMAND:
            return await self._command("AUTH PLAIN " + message.decode())
        reply = await self._command("AUTH PLAIN")
        return await self._answer(message) if reply.code == _CHALLENGE else reply

    def _login_failure(self, reply: Reply) -> SessionError:
        said = self.quote(reply.text)
        if reply.code == _NEEDS_TLS and not self.wire.encrypted:
            return login_not_offered(self.wire.where, encrypted=False)
        if reply.code in _REFUSED or b"5.7." in reply.text[:10]:
            return login_refused(self.wire.where, said)
        if reply.code >= _PERMANENT:
            return fail(
                FailureKind.PROTOCOL,
                "authentication_flag",
                f"{self.wire.where} cannot carry out the login: {said}",
            )
        if reply.code >= _TRY_LATER:
            return server_busy(self.wire.where, said)
        return self.out_of_step("finish the login", reply.text)

    async def _open_mailbox(self) -> str:
        return ""

    async def _say_goodbye(self) -> None:
        await self._command("QUIT")

    async def _command(self, line: str) -> Reply:
        return await self._exchange(line.encode(), f"answer {line.partition(' ')[0]}")

    async def _answer(self, line: bytes) -> Reply:
        return await self._exchange(line, "finish the login")

    async def _exchange(self, line: bytes, doing: str) -> Reply:
        async with self.wire.within(self.deadlines.command, doing):
            await self.wire.send(line)
            reply = await self.read_reply()
        if reply.code == _GOODBYE:
            self.wire.usable = False
            raise server_busy(self.wire.where, self.quote(reply.text))
        return reply

    @property
    def replies_there(self) -> int:
        """How many replies can be read without waiting for any."""
        return sum(line[3:4] != b"-" for line in self.wire.lines_there)

    async def read_reply(self, *, greeting: bool = False) -> Reply:
        """The next reply, of one line or several; deadlines are the caller's."""
        lines: list[bytes] = []
        code = b""
        more = b"-"
        while more == b"-":
            line = await self.wire.read_line()
            if (
                not line[:3].isdigit()
                or line[3:4] not in (b"-", b" ", b"")
                or code
                not in (
                    b"",
                    line[:3],
                )
            ):
                self.wire.usable = False
                raise (
                    self.strange_greeting(line)
                    if greeting
                    else self.out_of_step("answer as SMTP demands", line)
                )
            code, more = line[:3], line[3:4]
            lines.append(line[4:])
        return Reply(int(code), tuple(lines))
