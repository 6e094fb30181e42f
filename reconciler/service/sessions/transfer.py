"""Handing one message over in an open SMTP session (RFC 5321 3.3, 2920, 6531)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from reconciler.service.sessions import SessionError
from reconciler.service.sessions.sasl import server_busy
from reconciler.service.sessions.smtp import Envelope, Reply, SmtpSession
from reconciler.service.sessions.transport import as_lines

_POSITIVE: Final = range(200, 300)
_GO_ON: Final = 354
_GOODBYE: Final = 421
_NO_UTF8: Final = 550
# what a server says to a command or a parameter that it offered and does not know after all
_NOT_UNDERSTOOD: Final = frozenset({500, 501, 502, 503, 504, 555})


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's word on one recipient; `text` is cleaned and shortened."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        return self.code in _POSITIVE


@dataclass(frozen=True, slots=True)
class Manner:
    """How a message is handed over. `at_the_end` is called just before its end goes out.

    `careful` asks for no extension that can be done without. `following` is the envelope of the
    next message, which may go out together with the end of this one (RFC 2920 3.1). A task that is
    cancelled while it waits for the last answer waits `farewell` seconds more for it.
    """

    at_the_end: Callable[[], None]
    careful: bool = False
    following: Envelope | None = None
    farewell: float = 5


class Transfer:
    """One attempt to hand a message over.

    `handed_over` becomes true when the whole message may have reached the server: if `run` then
    raises, nobody can tell what became of it. `heard` says that the server has answered at all,
    `cancelled` that the task was cancelled while the server had the message.
    """

    def __init__(self, session: SmtpSession, envelope: Envelope, manner: Manner) -> None:
        self.handed_over = False
        self.heard = False
        self.cancelled = False
        self._session = session
        self._envelope = envelope
        self._manner = manner

    async def run(self, pieces: AsyncIterator[bytes]) -> tuple[Answer, ...]:
        """Hand the message over; an answer for each recipient, in order.

        Each piece is whole lines with CRLF.

        Raises:
            SessionError: the session is lost; see `handed_over`.

        """
        session = self._session
        if self._envelope.utf8 and "SMTPUTF8" not in session.extensions:
            return self._all(_no_utf8())
        replies = await self._ask()
        if self._not_understood(replies):
            session.plain = True
            replies = await self._ask()
            if self._envelope.utf8 and self._not_understood(replies):
                return self._all(_no_utf8())
        return await self._concluded(replies, pieces)

    async def _concluded(
        self, replies: Sequence[Reply], pieces: AsyncIterator[bytes]
    ) -> tuple[Answer, ...]:
        """From the replies to MAIL, each RCPT and DATA, and to the message if it may be sent."""
        mail, *recipients, data = replies
        if not _is_positive(mail):
            await self._take_back(data)
            self._session.unfinished = False
            return self._all(self._answer(mail))
        verdict = data
        accepted = any(_is_positive(one) for one in recipients)
        if not accepted:
            await self._take_back(data)
        elif data.code == _GO_ON:
            verdict = await self._hand_over(pieces)
            self._session.unfinished = self._session.announced is not None
        elif _is_positive(data):
            raise self._session.out_of_step("ask for the message", data.text)
        accepted_as = self._answer(verdict)
        return tuple(accepted_as if _is_positive(one) else self._answer(one) for one in recipients)

    # the envelope

    async def _ask(self) -> list[Reply]:
        """Say MAIL, RCPT and DATA: a reply to each, those that were not said having the last."""
        session = self._session
        if session.announced == self._envelope:
            session.announced = None
            count = len(self._envelope.recipients) + 2
            if session.replies_there >= count:  # most often they came with the last answer
                return await self._replies(count)
            async with self._within(session.deadlines.envelope):
                return await self._replies(count)
        if session.unfinished:
            await self._say(["RSET"])
        session.unfinished = True
        commands = self._commands(self._envelope)
        if self._pipelines and not self._manner.careful:
            return await self._say(commands)
        mail, *recipients, data = commands
        replies = await self._say([mail])
        if not _is_positive(replies[0]):
            return replies * len(commands)
        for recipient in recipients:
            replies += await self._say([recipient])
        if any(_is_positive(one) for one in replies[1:]):
            return replies + await self._say([data], session.deadlines.data)
        return [*replies, replies[-1]]

    async def _say(self, lines: Sequence[str], seconds: float | None = None) -> list[Reply]:
        async with self._within(seconds or self._session.deadlines.envelope):
            await self._session.wire.send(*(line.encode() for line in lines))
            return await self._replies(len(lines))

    def _within(self, seconds: float) -> AbstractAsyncContextManager[None]:
        return self._session.wire.within(seconds, "answer a command")

    async def _replies(self, count: int) -> list[Reply]:
        replies: list[Reply] = []
        while len(replies) < count:
            reply = await self._session.read_reply()
            replies.append(reply)
            if reply.code == _GOODBYE:  # nothing comes after it
                replies += self._goodbye(reply) * (count - len(replies))
            self.heard = True
        return replies

    def _goodbye(self, reply: Reply) -> list[Reply]:
        """What stands for the replies that will not come; as the first word it is no answer."""
        self._session.wire.usable = False
        if not self.heard:
            raise server_busy(self._session.wire.where, self._session.quote(reply.text))
        return [reply]

    @property
    def _pipelines(self) -> bool:
        return "PIPELINING" in self._session.extensions and not self._session.plain

    def _commands(self, envelope: Envelope) -> list[str]:
        mail = " ".join([f"MAIL FROM:<{envelope.sender}>", *self._parameters(envelope)])
        return [mail, *(f"RCPT TO:<{address}>" for address in envelope.recipients), "DATA"]

    def _parameters(self, envelope: Envelope) -> list[str]:
        offered = self._session.extensions
        if envelope.utf8:
            return ["SMTPUTF8", *(["BODY=8BITMIME"] if "8BITMIME" in offered else [])]
        if "SIZE" in offered and not (self._session.plain or self._manner.careful):
            return [f"SIZE={envelope.size}"]
        return []

    def _not_understood(self, replies: Sequence[Reply]) -> bool:
        """Whether the server may take the same without extensions, which is found out once."""
        if self._session.plain:
            return False
        mail, *recipients, data = replies
        if data.code == _GO_ON:
            return False
        strange = [one.code in _NOT_UNDERSTOOD for one in recipients]
        return mail.code in _NOT_UNDERSTOOD or (_is_positive(mail) and all(strange))

    # the message

    async def _hand_over(self, pieces: AsyncIterator[bytes]) -> Reply:
        waiting = b""
        async for piece in pieces:
            if waiting:
                await self._send(waiting)
            waiting = _stuffed(piece)
        if not waiting.endswith(b"\r\n"):
            waiting += b"\r\n"
        last = waiting + b".\r\n" + self._announcement()
        self._manner.at_the_end()
        self.handed_over = True
        try:
            return await self._verdict(last)
        except asyncio.CancelledError:
            self.cancelled = True
            return await self._verdict(b"", self._manner.farewell)

    def _announcement(self) -> bytes:
        """What begins the next message, where it may go out with the end of this one."""
        following = self._manner.following
        if following is None or not self._pipelines:
            return b""
        self._session.announced = following
        return as_lines(*(line.encode() for line in self._commands(following)))

    async def _verdict(self, last: bytes, seconds: float | None = None) -> Reply:
        """Send the end, and read what the server says to the message."""
        session = self._session
        seconds = seconds or session.deadlines.verdict
        async with session.wire.within(seconds, "answer the message"):
            if last:
                await self._send_end(last)
            reply = await session.read_reply()
        if not 200 <= reply.code < 300 and not 400 <= reply.code < 600:  # noqa: PLR2004 - RFC 5321
            raise session.out_of_step("answer the message", reply.text)
        if reply.code == _GOODBYE:
            session.wire.usable = False
        return reply

    async def _send_end(self, last: bytes) -> None:
        try:
            await self._session.wire.send_content(last)
        except SessionError:
            # what the system does not take has not gone out, and without its end a message is none
            self.handed_over = False
            raise

    async def _take_back(self, data: Reply) -> None:
        """A server that asks for a message for nobody gets an empty one, as RFC 2920 wants it."""
        if data.code == _GO_ON:
            await self._say(["."], self._session.deadlines.data)

    async def _send(self, data: bytes) -> None:
        wire = self._session.wire
        async with wire.within(self._session.deadlines.block, "take the message"):
            await wire.send_content(data)

    def _answer(self, reply: Reply) -> Answer:
        return Answer(reply.code, self._session.quote(reply.text))

    def _all(self, answer: Answer) -> tuple[Answer, ...]:
        return (answer,) * len(self._envelope.recipients)


def _is_positive(reply: Reply) -> bool:
    return reply.code in _POSITIVE


def _no_utf8() -> Answer:
    return Answer(
        _NO_UTF8, "an address has letters beyond ASCII, and the server does not offer SMTPUTF8"
    )


def _stuffed(lines: bytes) -> bytes:
    """A dot at the beginning of a line doubled, so that no line of a message ends it."""
    if lines.startswith(b"."):
        lines = b"." + lines
    return lines.replace(b"\r\n.", b"\r\n..")
