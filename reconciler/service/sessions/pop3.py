"""POP3 as a reader that deletes nothing speaks it (RFC 1939, 2449, 2595, 3206, 5034)."""

import re
from collections.abc import Mapping
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
    sounds_busy,
)

MAX_COMMAND: Final = 253  # without CRLF (RFC 2449 4): what is longer waits to be asked for

_BUSY: Final = frozenset({"IN-USE", "LOGIN-DELAY", "SYS/TEMP"})  # RFC 2449 8.1, RFC 3206 4
_CODE: Final = re.compile(r"^-ERR \[([A-Z/-]+)")


class Pop3Session(MailSession):
    tls_command = "STLS"

    capabilities: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """What the server said to CAPA: name to parameters, in upper case; none before it."""

    messages = 0
    """How many messages the mailbox had when it was locked for this session."""

    async def keep_alive(self) -> None:
        line = await self.command("NOOP")
        if not is_fine(line):
            raise self.out_of_step("answer NOOP", line)

    async def _read_greeting(self) -> None:
        line = await self.wire.read_line()
        if line.startswith(b"-ERR"):
            raise server_busy(self.wire.where, self.quote(line))
        if not is_fine(line):
            raise self.strange_greeting(line)

    async def _learn(self) -> None:
        self.capabilities = {}
        line = await self.command("CAPA")
        if not is_fine(line):
            self.capabilities = {"USER": ()}  # older than CAPA: the one login of RFC 1939
            return
        capabilities: dict[str, tuple[str, ...]] = {}
        async with self.wire.within(self.deadlines.command, "list its capabilities"):
            while (line := await self.wire.read_line()) != b".":
                if words := words_of(line):
                    capabilities[words[0]] = tuple(words[1:])
        self.capabilities = capabilities

    async def _request_tls(self) -> None:
        offered = "STLS" in self.capabilities
        self.capabilities = {}
        if not offered or not is_fine(await self.command("STLS")):
            raise self.tls_not_offered()

    @property
    def _plain_offered(self) -> bool:
        return "PLAIN" in self.capabilities.get("SASL", ())

    def _check_offers(self) -> str:
        if not self.gateway.authentication_flag:
            raise fail(
                FailureKind.PROTOCOL,
                "authentication_flag",
                f"{self.wire.where}: POP3 has no way to read mail without a login",
                "set authentication_flag to true",
            )
        if not self._plain_offered and "USER" not in self.capabilities:
            raise login_not_offered(self.wire.where, encrypted=self.wire.encrypted)
        return "login by " + ("SASL PLAIN" if self._plain_offered else "USER and PASS")

    async def _authenticate(self, credentials: Credentials) -> None:
        if self._plain_offered:
            line = await self._plain(credentials)
        else:
            line = await self._command_bytes(b"USER " + credentials.user, "answer USER")
            if not is_fine(line):
                raise self._refused(line, "user_id")
            line = await self._command_bytes(b"PASS " + credentials.password, "finish the login")
        if not is_fine(line):
            raise self._refused(line, "user_password")

    async def _plain(self, credentials: Credentials) -> bytes:
        message = credentials.plain
        if len(b"AUTH PLAIN " + message) <= MAX_COMMAND:
            return await self._command_bytes(b"AUTH PLAIN " + message, "finish the login")
        line = await self.command("AUTH PLAIN")
        if not line.startswith(b"+ ") and line != b"+":
            return line
        return await self._command_bytes(message, "finish the login")

    def _refused(self, line: bytes, field: str) -> SessionError:
        said = self.quote(line)
        code = _CODE.match(said.upper())
        if (code and code[1] in _BUSY) or (not code and sounds_busy(said)):
            return server_busy(self.wire.where, said)
        if not line.startswith(b"-ERR"):
            return self.out_of_step("finish the login", line)
        return login_refused(self.wire.where, said, field)

    async def _open_mailbox(self) -> str:
        line = await self.command("STAT")
        words = line.split()
        if not is_fine(line) or len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004
            busy = _CODE.match(self.quote(line).upper())
            if busy and busy[1] in _BUSY:
                raise server_busy(self.wire.where, self.quote(line))
            raise self.out_of_step("say what is in the mailbox", line)
        self.messages = int(words[1])
        return f"mailbox has {self.messages} messages"

    async def _say_goodbye(self) -> None:
        await self.command("QUIT")

    async def command(self, line: str) -> bytes:
        """The first line of the answer to a command."""
        return await self._command_bytes(line.encode(), f"answer {line.partition(' ')[0]}")

    async def _command_bytes(self, line: bytes, doing: str) -> bytes:
        """The first line of the answer; one that says neither yes nor no ends the session."""
        async with self.wire.within(self.deadlines.command, doing):
            await self.wire.send(line)
            answer = await self.wire.read_line()
        if not answer.startswith((b"+", b"-ERR")):
            self.wire.usable = False
            raise self.out_of_step("answer as POP3 demands", answer)
        return answer


def is_fine(line: bytes) -> bool:
    """Whether an answer says yes."""
    return line == b"+OK" or line.startswith(b"+OK ")
