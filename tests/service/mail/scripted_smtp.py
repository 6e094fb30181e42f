"""An SMTP server that answers as a test says, and writes down what it hears."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

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
        self._heard = bytearray()

    async def run(self) -> None:
        self._say(self._script.greeting)
        while True:
            while b"\n" not in self._heard:
                await self._hear()
            line = self._take(self._heard.index(b"\n") + 1)
            await self._command(line.decode().rstrip("\r\n"))

    async def _hear(self) -> None:
        data = await self._reader.read(65_536)
        if not data:
            raise _Gone
        self._heard += data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._heard[:size])
        del self._heard[:size]
        return taken

    def _content_end(self) -> int:
        if self._heard.startswith(b".\r\n"):
            return 3
        found = self._heard.find(b"\r\n.\r\n")
        return found + 5 if found >= 0 else -1

    @property
    def _script(self) -> Script:
        return self._server.script

    async def _command(self, line: str) -> None:
        self._server.lines.append(line)
        verb = line[:4].upper()
        if verb in _PLAIN:
            self._say(_PLAIN[verb])
        elif verb in {"RCPT", "DATA"} and not self._sender:
            self._say("503 5.5.1 need MAIL")
        else:
            await _COMMANDS[verb](self, line)

    async def _ehlo(self, _line: str) -> None:
        self._say("\n".join(["scripted", *self._script.offers, "AUTH PLAIN"]), code="250")

    async def _mail(self, line: str) -> None:
        self._sender, self._recipients = "", []
        if (await self._answer(self._script.mail, line)).startswith("2"):
            self._sender = line

    async def _rcpt(self, line: str) -> None:
        if (await self._answer(self._script.recipient, line)).startswith("2"):
            self._recipients.append(line.partition("<")[2].rpartition(">")[0])

    async def _data(self, line: str) -> None:
        if (await self._answer(self._script.data, line)).startswith("354"):
            await self._content()

    async def _noop(self, line: str) -> None:
        await self._answer(self._script.noop, line)

    async def _quit(self, _line: str) -> None:
        self._say("221 bye")
        raise _Gone

    async def _content(self) -> None:
        if self._script.before_content:
            await self._script.before_content.wait()
        limit = self._script.cut_after_content_bytes
        while (end := self._content_end()) < 0:
            if limit is not None and len(self._heard) >= limit:
                raise _Gone
            await self._hear()
        content = self._take(end)
        self._server.contents.append(content)
        raw = content[:-3].replace(b"\r\n..", b"\r\n.").removeprefix(b".")
        received = Received(self._sender, self._recipients, raw)
        reply = self._script.end if isinstance(self._script.end, str) else self._script.end("")
        if self._recipients and reply.startswith(("2", CUT, SILENT)):
            self._server.messages.append(received)
        await self._answer(reply if self._recipients else "554 5.5.1 no valid recipients", "")
        self._sender = ""

    async def _answer(self, reply: Reply, line: str) -> str:
        text = reply if isinstance(reply, str) else reply(line)
        said, cut, _ = text.partition(CUT)
        said, silent, _ = said.partition(SILENT)
        if said:
            self._writer.write(said.strip("\n").replace("\n", "\r\n").encode() + b"\r\n")
        if cut:
            await self._writer.drain()
            raise _Gone
        while silent and await self._reader.read(65_536):
            pass  # it hears, and says no more
        return text

    def _say(self, text: str, *, code: str = "") -> None:
        *others, last = text.split("\n")
        lines = [f"{code}-{one}" for one in others] + [f"{code} {last}" if code else last]
        self._writer.write("".join(f"{one}\r\n" for one in lines).encode())


_PLAIN = {"AUTH": "235 welcome", "RSET": "250 2.0.0 ok"}
_COMMANDS = {
    "EHLO": _Conversation._ehlo,
    "MAIL": _Conversation._mail,
    "RCPT": _Conversation._rcpt,
    "DATA": _Conversation._data,
    "NOOP": _Conversation._noop,
    "QUIT": _Conversation._quit,
}


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

    # the protocol is named, or asyncio leaves Nagle's delay on; the buffer is small, so that not
    # all of a large message is on its way before any of it is read
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    server = await asyncio.start_server(accept, sock=listener, limit=2**18)
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
