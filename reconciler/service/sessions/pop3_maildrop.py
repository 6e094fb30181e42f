"""Reading the maildrop that a POP3 session has locked, so that nothing in it changes."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from reconciler.model import FailureKind
from reconciler.service.sessions.failures import fail
from reconciler.service.sessions.pop3 import Pop3Session, is_fine

BLOCK: Final = 64 * 1024
"""What of a message must come within the deadline of a command: nobody can trickle for ever."""

MAX_LISTED: Final = 250_000
"""A maildrop with more messages is refused: POP3 names them all at each look."""

_MAX_LISTING: Final = 32 * 1024 * 1024
_LISTED: Final = re.compile(rb"(\d{1,9})[ \t]+([!-~]{1,1000})")


class Refused(Exception):
    """The server says no to one command; the session goes on."""


class DotReader:
    """The lines of a long answer, of which a dot alone is the last: what they stand for. Pure.

    Only CRLF ends a line here. What a message holds of other line ends says nothing of its end.
    """

    def __init__(self) -> None:
        self._waiting = b"\r\n"  # as if a line had ended before: the first may begin with a dot
        self._first = True

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """What the next bytes stand for; with the end also those that came after it."""
        text = self._waiting + data
        end = text.find(b"\r\n.\r\n")
        if end < 0:
            keep = len(text) - min(len(text), _longest_start(text))
            whole, self._waiting, after = text[:keep], text[keep:], None
        else:
            whole, self._waiting, after = text[: end + 2], b"", text[end + 5 :]
        found = whole.replace(b"\r\n.", b"\r\n")
        if self._first and len(found) >= 2:  # noqa: PLR2004 - the CRLF put before
            found, self._first = found[2:], False
        return found, after


class Maildrop:
    """One open session, as long as it lasts. Every method raises SessionError when it is lost."""

    def __init__(self, session: Pop3Session) -> None:
        self._session = session
        self._wire = session.wire
        self._seconds = session.deadlines.command

    async def unique_ids(self) -> dict[int, str]:
        """Each message's number and what the server calls it for good. Raises Refused."""
        return {number: word.decode() for number, word in (await self._listing("UIDL")).items()}

    async def sizes(self) -> dict[int, int]:
        """Each message's number and its size, as the server says. Raises Refused."""
        listed = (await self._listing("LIST")).items()
        return {number: int(word) for number, word in listed if word[:20].isdigit()}

    async def header(self, number: int, size: int, most: int, *, top: bool = True) -> bytes:
        """The first `size` bytes of a message; with `top` only its header is asked for.

        A server that sends more than `most` is left. Raises Refused.
        """
        found, left = bytearray(), most
        command = f"TOP {number} 0" if top else f"RETR {number}"
        async with aclosing(self._long(command)) as blocks:
            async for block in blocks:
                left -= len(block)
                self._wire.check(left >= 0, "a message without end")
                found += block[: max(0, size - len(found))]
        return bytes(found)

    def message(self, number: int) -> AsyncGenerator[bytes, None]:
        """A message in blocks. Raises Refused; leaving early ends the session."""
        return self._long(f"RETR {number}")

    async def _listing(self, command: str) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        rest, left, count = b"", _MAX_LISTING, 0
        async with aclosing(self._long(command)) as blocks:
            async for block in blocks:
                left -= len(block)
                self._wire.check(left >= 0, "a reply without end")
                *lines, rest = (rest + block).split(b"\r\n")
                for line in lines:
                    if match := _LISTED.fullmatch(line.rstrip()):
                        found[int(match[1])] = match[2]
                self._wire.check(len(rest) <= BLOCK, "a line without end")
                count += len(lines)
                if count > MAX_LISTED:
                    self._wire.usable = False
                    raise fail(
                        FailureKind.PROTOCOL,
                        "protocol_type",
                        f"{self._wire.where}: the mailbox has more than {MAX_LISTED} messages",
                        "use IMAP, which asks for new messages only",
                    )
        return found

    async def _long(self, command: str) -> AsyncGenerator[bytes, None]:
        """The lines of a long answer, in blocks."""
        line = await self._session.command(command)
        if not is_fine(line):
            raise Refused(self._session.quote(line))
        reader, after, block = DotReader(), None, bytearray()
        self._wire.usable = False  # until the end is there: whoever leaves early ends the session
        doing = f"send what was asked for with {command.partition(' ')[0]}"
        while after is None:
            await asyncio.sleep(0)  # others have their turn, however fast the server is
            async with self._wire.within(self._seconds, doing):
                while after is None and len(block) < BLOCK:
                    data, after = reader.feed(await self._wire.read_some())
                    block += data
            if after is not None:
                self._wire.put_back(after)
                self._wire.usable = True
            if block:
                yield bytes(block)
                block.clear()


def _longest_start(text: bytes) -> int:
    """How many bytes at the end may be the beginning of the last line."""
    for size in (4, 3, 2, 1):
        if text.endswith(b"\r\n.\r"[:size]):
            return size
    return 0
