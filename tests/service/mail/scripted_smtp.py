"""An SMTP server that answers as a test says, and writes down what it hears."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from demo.mailserver.session import decode_plain

CUT = "(cut)"
"""Instead of a reply: the connection is reset."""

SILENT = "(silent)"
"""Instead of a reply: nothing, until the client gives up."""

Reply = str | Callable[[str], str]
"""A reply, or what makes one of a command's line; several lines are parted by a newline."""


class _Gone(Exception):
    """The connection is over."""


@dataclass
class Received:
    sender: str
    recipients: list[str]
    raw: bytes


@dataclass
class Script:
    """How the server answers from now on; `keeps` says whether a message is kept before `end`."""

    offers: tuple[str, ...] = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8")
    mail: Reply = "250 2.1.0 ok"
    recipient: Reply = "250 2.1.5 ok"
    data: Reply = "354 go on"
    end: Reply = "250 2.0.0 queued"
    noop: Reply = "250 2.0.0 ok"
    greeting: str = "220 scripted"
    cut_after_content_bytes: int | None = None
    before_content: asyncio.Event | None = None


@dataclass
class ScriptedSmtp:
    """`lines` are all commands that were heard, `messages` what was accepted or kept."""

    script: Script
    port: int = 0
    lines: list[str] = field(default_factory=list)
    messages: list[Received] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    def heard(self, verb: str) -> list[str]:
        return [line for line in self.lines if line.upper().startswith(verb)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            await _Conversation(self, reader, writer).run()
        except (_Gone, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()


class _Conversation:
    def __init__(
        self, server: ScriptedSmtp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._sender = ""
        self._recipients: list[str] = []

    async def run(self) -> None:
        self._say(self._script.greeting)
        while line := (await self._reader.readline()).decode():
            await self._command(line.rstrip("\r\n"))

    @property
    def _script(self) -> Script:
        return self._server.script

    async def _command(self, line: str) -> None:
        self._server.lines.append(line)
        match line.split(" ")[0].upper().partition(":")[0]:
            case "EHLO":
                offers = ["scripted", *self._script.offers, "AUTH PLAIN"]
                self._say("\n".join(offers), code="250")
            case "AUTH":
                assert decode_plain(line.split(" ")[2])
                self._say("235 welcome")
            case "MAIL":
                self._sender, self._recipients = "", []
                if self._answer(self._script.mail, line).startswith("2"):
                    self._sender = line
            case "RCPT":
                if not self._sender:
                    self._say("503 5.5.1 need MAIL")
                elif self._answer(self._script.recipient, line).startswith("2"):
                    self._recipients.append(line.partition("<")[2].rpartition(">")[0])
            case "DATA":
                if not self._sender:
                    self._say("503 5.5.1 need MAIL")
                elif self._answer(self._script.data, line).startswith("354"):
                    await self._content()
            case "RSET":
                self._say("250 2.0.0 ok")
            case "NOOP":
                self._answer(self._script.noop, line)
            case "QUIT":
                self._say("221 bye")
                raise _Gone
            case _:
                self._say("500 5.5.2 what?")

    async def _content(self) -> None:
        if self._script.before_content:
            await self._script.before_content.wait()
        content = b""
        limit = self._script.cut_after_content_bytes
        while not content.endswith(b"\r\n.\r\n") and content != b".\r\n":
            content += await self._reader.readuntil(b"\n")
            if limit is not None and len(content) >= limit:
                raise _Gone
        self._server.contents.append(content)
        raw = content[:-3].replace(b"\r\n..", b"\r\n.").removeprefix(b".")
        received = Received(self._sender, self._recipients, raw)
        reply = self._script.end if isinstance(self._script.end, str) else self._script.end("")
        if self._recipients and (reply.startswith("2") or reply in {CUT, SILENT}):
            self._server.messages.append(received)
        self._answer(reply if self._recipients else "554 5.5.1 no valid recipients", "")
        self._sender = ""

    def _answer(self, reply: Reply, line: str) -> str:
        text = reply if isinstance(reply, str) else reply(line)
        if text == CUT:
            raise _Gone
        if text != SILENT:
            self._writer.write(text.replace("\n", "\r\n").encode() + b"\r\n")
        return text

    def _say(self, text: str, *, code: str = "") -> None:
        *others, last = text.split("\n")
        lines = [f"{code}-{one}" for one in others] + [f"{code} {last}" if code else last]
        self._writer.write("".join(f"{one}\r\n" for one in lines).encode())


def one_by_one(*replies: str) -> Callable[[str], str]:
    """The next of some replies each time, the last of them from then on."""
    numbers = count()
    return lambda _line: replies[min(next(numbers), len(replies) - 1)]


@asynccontextmanager
async def scripted_smtp(script: Script | None = None) -> AsyncIterator[ScriptedSmtp]:
    found = ScriptedSmtp(script or Script())
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(found.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=2**20)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
