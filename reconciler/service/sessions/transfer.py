"""Handing one message over in an open SMTP session (RFC 5321 3.3, 2920, 6531)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.model import FailureKind
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.sasl import server_busy
from reconciler.service.sessions.smtp import Reply, SmtpSession

_POSITIVE: Final = range(200, 300)
_GO_ON: Final = 354
_GOODBYE: Final = 421
_NO_UTF8: Final = 550
# what a server says to a command or a parameter that it offered and does not know after all
_NOT_UNDERSTOOD: Final = frozenset({500, 501, 502, 503, 504, 555})


@dataclass(frozen=True, slots=True)
class Envelope:
    """Whom a message is from and for; `size` is its bytes, `utf8` that it needs SMTPUTF8."""

    sender: str
    recipients: tuple[str, ...]
    size: int
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's word on one recipient; `text` is cleaned and shortened."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        return self.code in _POSITIVE


class Transfer:
    """One attempt to hand a message over.

    `handed_over` becomes true when the whole message may have reached the server, and stays so: if
    `run` then raises, nobody can tell what became of it. `at_the_end` is called just before.
    `heard` says that the server has answered at all. `careful` asks for no extension that can be
    done without.
    """

    def __init__(
        self,
        session: SmtpSession,
        envelope: Envelope,
        at_the_end: Callable[[], None],
        *,
        careful: bool = False,
        farewell: float = 5,
    ) -> None:
        self.handed_over = False
        self.heard = False
        self.cancelled = False
        self._session = session
        self._envelope = envelope
        self._at_the_end = at_the_end
        self._careful = careful
        self._farewell = farewell

    async def run(self, pieces: AsyncIterator[bytes]) -> tuple[Answer, ...]:
        """Hand the message over; an answer for each recipient, in order.

        Each piece is whole lines with CRLF. A task that is cancelled while it waits for the last
        answer waits `farewell` seconds more for it, and then says so in `cancelled`.

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
            self._session.unfinished = False
        elif _is_positive(data):
            raise self._session.out_of_step("ask for the message", data.text)
        return tuple(self._answer(verdict if _is_positive(one) else one) for one in recipients)

    # the envelope

    async def _ask(self) -> list[Reply]:
        """Say MAIL, RCPT and DATA: a reply to each, those that were not said having the last."""
        session, envelope = self._session, self._envelope
        mail = " ".join([f"MAIL FROM:<{envelope.sender}>", *self._parameters()])
        recipients = [f"RCPT TO:<{address}>" for address in envelope.recipients]
        if session.unfinished:
            await self._say(["RSET"])
        session.unfinished = True
        if "PIPELINING" in session.extensions and not (session.plain or self._careful):
            return await self._say([mail, *recipients, "DATA"])
        replies = await self._say([mail])
        if not _is_positive(replies[0]):
            return replies * (len(recipients) + 2)
        for recipient in recipients:
            replies += await self._say([recipient])
        if any(_is_positive(one) for one in replies[1:]):
            return replies + await self._say(["DATA"], self._session.deadlines.data)
        return [*replies, replies[-1]]

    async def _say(self, lines: Sequence[str], seconds: float | None = None) -> list[Reply]:
        session = self._session
        seconds = seconds or session.deadlines.envelope
        replies: list[Reply] = []
        async with session.wire.within(seconds, f"answer {lines[0].partition(' ')[0]}"):
            await session.wire.send(*(line.encode() for line in lines))
            while len(replies) < len(lines):
                reply = await session.read_reply()
                replies.append(reply)
                if reply.code == _GOODBYE:  # nothing comes after it
                    replies += self._goodbye(reply) * (len(lines) - len(replies))
                self.heard = True
        return replies

    def _goodbye(self, reply: Reply) -> list[Reply]:
        """What stands for the replies that will not come; as the first word it is no answer."""
        self._session.wire.usable = False
        if not self.heard:
            raise server_busy(self._session.wire.where, self._session.quote(reply.text))
        return [reply]

    def _parameters(self) -> list[str]:
        offered, envelope = self._session.extensions, self._envelope
        if envelope.utf8:
            return ["SMTPUTF8", *(["BODY=8BITMIME"] if "8BITMIME" in offered else [])]
        if "SIZE" in offered and not (self._session.plain or self._careful):
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
        self._at_the_end()
        self.handed_over = True
        try:
            await self._send(waiting + b".\r\n")
        except SessionError as error:
            # what the system does not take has not gone out, and without its end a message is none
            self.handed_over = error.failure.kind is FailureKind.TIMEOUT
            raise
        return await self._verdict()

    async def _verdict(self) -> Reply:
        try:
            return await self._last_reply(self._session.deadlines.verdict)
        except asyncio.CancelledError:
            self.cancelled = True
            return await self._last_reply(self._farewell)

    async def _last_reply(self, seconds: float) -> Reply:
        session = self._session
        async with session.wire.within(seconds, "answer the message"):
            reply = await session.read_reply()
        if not 200 <= reply.code < 300 and not 400 <= reply.code < 600:  # noqa: PLR2004 - RFC 5321
            raise session.out_of_step("answer the message", reply.text)
        if reply.code == _GOODBYE:
            session.wire.usable = False
        return reply

    async def _take_back(self, data: Reply) -> None:
        """A server that asks for a message for nobody gets an empty one, as RFC 2920 wants it."""
        if data.code == _GO_ON:
            async with self._session.wire.within(self._session.deadlines.data, "answer"):
                await self._session.wire.send(b".")
                await self._session.read_reply()

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
