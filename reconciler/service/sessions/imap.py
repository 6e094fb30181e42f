"""IMAP as a reader that changes nothing speaks it (RFC 3501, 9051, 2595, 4959, 5530)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from reconciler.model import EncryptionMode, FailureKind
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.base import MailSession
from reconciler.service.sessions.failures import fail, words_of
from reconciler.service.sessions.sasl import (
    Credentials,
    login_not_offered,
    login_refused,
    server_busy,
    sounds_busy,
)

_LITERAL: Final = re.compile(rb"~?\{(\d{1,20})\+?\}$")  # a line that ends so goes on with bytes
_CODE: Final = re.compile(r"^\[([A-Z0-9-]+)")
_BUSY: Final = frozenset({"UNAVAILABLE", "LIMIT", "INUSE", "SERVERBUG"})  # RFC 5530, 9051
_FINAL: Final = frozenset({"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED"})
_ATOM: Final = re.compile(rb"[!#-\[\]-~ ]*")  # what may stand in quotes without an escape
_NUMBERS: Final = re.compile(rb"\* (\d{1,20}) EXISTS|\[(UIDVALIDITY|UIDNEXT) (\d{1,20})\]")
_CHANGES: Final = re.compile(rb"\* (?:\d{1,20} (?:EXISTS|EXPUNGE)|VANISHED)", re.IGNORECASE)
_NUMBERED: Final = re.compile(rb"\* OK \[UIDVALIDITY (\d{1,20})\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Inbox:
    """What EXAMINE said; UIDs mean something only together with `uid_validity`."""

    exists: int = 0
    uid_validity: int = 0
    uid_next: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """One response: its line, where `{n}` stands for the literal at its turn in `literals`."""

    line: bytes
    literals: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """How a command ended: OK, NO or BAD, its response code, and what came before."""

    status: str
    code: str
    text: str
    untagged: tuple[Response, ...]


class ImapSession(MailSession):
    tls_command = "STARTTLS"

    capabilities: frozenset[str] = frozenset()
    """What the server last said that it can do, in upper case; none before it was asked."""

    inbox = Inbox()

    changed = False
    """Whether the server has said, since somebody last set this to False, that mail changed."""

    _tag = 0
    _preauth = False

    async def keep_alive(self) -> None:
        done = await self.command("NOOP")
        if done.status != "OK":
            raise self.out_of_step("answer NOOP", done.text)

    async def _read_greeting(self) -> None:
        line = await self.wire.read_line()
        word = line[:10].upper()
        if word.startswith(b"* BYE"):
            self.wire.usable = False
            raise server_busy(self.wire.where, self.quote(line[6:]))
        self._preauth = word.startswith(b"* PREAUTH")
        if not self._preauth and not word.startswith(b"* OK"):
            raise self.strange_greeting(line)
        if self._preauth and self.gateway.encryption_mode is EncryptionMode.STARTTLS:
            self.wire.usable = False
            raise fail(  # STARTTLS is no longer allowed then: the oldest way around it
                FailureKind.PROTOCOL,
                "encryption_mode",
                f"{self.wire.where} greets with PREAUTH, which makes STARTTLS impossible",
                "somebody between may be tampering; use encryption_mode TLS if the server has it",
            )

    async def learn_again(self) -> None:
        """Ask once more what the server can do: after a login it is often more."""
        await self._learn()

    async def _learn(self) -> None:
        self.capabilities = frozenset()
        done = await self.command("CAPABILITY")
        found: set[str] = set()
        for response in done.untagged:
            words = words_of(response.line)
            if words[1:2] == ["CAPABILITY"]:
                found.update(words[2:])
        if done.status != "OK":
            raise self.out_of_step("say what it can do", done.text)
        self.capabilities = frozenset(found)

    async def _request_tls(self) -> None:
        offered = "STARTTLS" in self.capabilities
        self.capabilities = frozenset()
        if not offered or (await self.command("STARTTLS")).status != "OK":
            raise self.tls_not_offered()

    def _check_offers(self) -> str:
        if self._preauth != self.gateway.authentication_flag:
            return self._offered()
        message, wanted = (
            ("logs its clients in by itself and takes no login", "false")
            if self._preauth
            else ("does not let anybody read mail without a login", "true")
        )
        raise fail(
            FailureKind.PROTOCOL,
            "authentication_flag",
            f"{self.wire.where} {message}",
            f"set authentication_flag to {wanted}",
        )

    def _offered(self) -> str:
        if self._preauth:
            return "logged in by the server itself"
        disabled = "LOGINDISABLED" in self.capabilities
        plain = "AUTH=PLAIN" in self.capabilities
        if disabled and not (plain and self.wire.encrypted):
            raise login_not_offered(self.wire.where, encrypted=self.wire.encrypted)
        return "login by " + ("AUTHENTICATE PLAIN" if plain else "LOGIN")

    async def _authenticate(self, credentials: Credentials) -> None:
        if "AUTH=PLAIN" not in self.capabilities:
            done = await self._login(credentials)
        elif "SASL-IR" in self.capabilities:
            done = await self.command("AUTHENTICATE PLAIN " + credentials.plain.decode())
        else:
            done = await self.command("AUTHENTICATE PLAIN", (credentials.plain,))
        if done.status != "OK":
            raise self._login_failure(done)

    async def _login(self, credentials: Credentials) -> Completion:
        """LOGIN, with each argument in quotes if it may stand there, else as a literal."""
        parts = [b"LOGIN "]
        for argument, after in ((credentials.user, b" "), (credentials.password, b"")):
            if _ATOM.fullmatch(argument):
                parts[-1] += b'"' + argument + b'"' + after
            else:
                parts[-1] += b"{%d}" % len(argument)
                parts.append(argument + after)
        return await self._command_bytes(parts[0], "LOGIN", parts[1:])

    def _login_failure(self, done: Completion) -> SessionError:
        where = self.wire.where
        if done.code in _BUSY or (done.code not in _FINAL and sounds_busy(done.text)):
            return server_busy(where, done.text)
        if done.code == "PRIVACYREQUIRED":
            return login_not_offered(where, encrypted=self.wire.encrypted)
        if done.status == "BAD":
            return fail(
                FailureKind.PROTOCOL,
                "authentication_flag",
                f"{where} cannot carry out the login: {done.text}",
            )
        return login_refused(where, done.text)

    async def _open_mailbox(self) -> str:
        done = await self.command("EXAMINE INBOX")  # SELECT would take \Recent from others
        if done.code in _BUSY:
            raise server_busy(self.wire.where, done.text)
        if done.status != "OK":
            raise fail(
                FailureKind.PROTOCOL,
                "user_id",
                f"{self.wire.where}: the mailbox of this user cannot be read: {done.text}",
            )
        numbers = {"EXISTS": 0, "UIDVALIDITY": 0, "UIDNEXT": 0}
        for response in done.untagged:
            if match := _NUMBERS.search(response.line):
                numbers[(match[2] or b"EXISTS").decode()] = int(match[1] or match[3])
        self.inbox = Inbox(numbers["EXISTS"], numbers["UIDVALIDITY"], numbers["UIDNEXT"])
        return f"INBOX has {self.inbox.exists} messages"

    async def _say_goodbye(self) -> None:
        await self.command("LOGOUT")

    async def command(self, line: str, answers: Sequence[bytes] = ()) -> Completion:
        return await self._command_bytes(line.encode(), line.partition(" ")[0], answers)

    async def _command_bytes(
        self, line: bytes, verb: str, answers: Sequence[bytes] = ()
    ) -> Completion:
        """One command. Each time that the server asks for more it gets the next of `answers`.

        When there are none left it gets `*`, which takes a login back (RFC 3501 6.2.2).
        """
        left = [*answers, b"*"]
        untagged: list[Response] = []
        async with self.wire.within(self.deadlines.command, f"answer {verb}"):
            tag = await self.begin(line)
            while not (response := await self.read_response()).line.startswith(tag):
                if response.line[:1] == b"+" and left:
                    await self.wire.send(left.pop(0))
                else:
                    self.check_untagged(response.line, verb)
                    untagged.append(response)
        return self.completion(tag, response.line, untagged)

    async def begin(self, line: bytes) -> bytes:
        """Send a command; the result is what the line begins with that completes it."""
        self._tag += 1
        tag = b"a%d " % self._tag
        await self.wire.send(tag + line)
        return tag

    def completion(self, tag: bytes, line: bytes, untagged: Sequence[Response] = ()) -> Completion:
        status, _, text = self.quote(line[len(tag) :]).partition(" ")
        code = _CODE.match(text.upper())
        return Completion(status.upper(), code[1] if code else "", text, tuple(untagged))

    def check_untagged(self, line: bytes, verb: str) -> None:
        """Take note of what the server says by itself; raises if it is a goodbye, or no IMAP."""
        if not line.startswith(b"* "):
            self.wire.usable = False
            raise self.out_of_step("answer as IMAP demands", line)
        if line[:5].upper() == b"* BYE" and verb != "LOGOUT":
            self.wire.usable = False
            raise server_busy(self.wire.where, self.quote(line[6:]))
        if _CHANGES.match(line):
            self.changed = True
        elif numbered := _NUMBERED.match(line):
            self.inbox = replace(self.inbox, uid_validity=int(numbered[1]))

    async def read_response(self) -> Response:
        lines = [await self.wire.read_line()]
        literals: list[bytes] = []
        while match := _LITERAL.search(lines[-1]):
            literals.append(await self.wire.read_exactly(int(match[1])))
            lines.append(await self.wire.read_line())
        return Response(b"".join(lines), tuple(literals))
