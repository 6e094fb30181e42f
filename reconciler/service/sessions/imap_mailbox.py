"""Reading the mailbox that an IMAP session has open, so that nothing in it changes.

Messages go through in blocks, each within a deadline: they may be as long as their reader lets
them. Everything else keeps to the limits of a reply.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Final

from reconciler.model import FailureKind
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.failures import fail
from reconciler.service.sessions.imap import Completion, ImapSession, Response
from reconciler.service.sessions.imap_fetch import Fetched, announced, fetched
from reconciler.service.sessions.sasl import server_busy, sounds_busy

BLOCK: Final = 64 * 1024
"""What of a message must come within the deadline of a command: nobody can trickle for ever."""

MAX_UID: Final = 2**32 - 1
MAX_FOUND: Final = 1_000_000  # what a search may find
MAX_SEARCHES: Final = 1_000  # lines that say it: most servers need one

_SEARCH: Final = b"* SEARCH"
_UID_DIGITS: Final = 10
_LONGEST_WORD: Final = 100
_SEARCH_COMMANDS: Final = 4  # a search may take as long as so many commands


@dataclass(frozen=True, slots=True)
class Begun:
    """A message of so many bytes follows, in blocks, and then what it is."""

    size: int


class ImapMailbox:
    """One open session, as long as it lasts. Every method raises SessionError when it is lost."""

    def __init__(self, session: ImapSession) -> None:
        self.where = session.wire.where
        self._session = session
        self._wire = session.wire
        self._seconds = session.deadlines.command
        self._moved_at = 0.0

    async def search(self, keys: str, above: int, most: int) -> list[int]:
        """The UIDs above a number that match, in order: the lowest, `most` of them at most."""
        session = self._session
        found = _Lowest(above, most)
        lines = 0
        async with self._wire.within(self._seconds * _SEARCH_COMMANDS, "answer SEARCH"):
            tag = await session.begin(b"UID SEARCH " + keys.encode())
            while True:
                if (await self._wire.peek(len(_SEARCH))).upper() == _SEARCH:
                    lines += 1
                    self._wire.check(lines <= MAX_SEARCHES, "a reply without end")
                    await self._numbers(found)
                    continue
                response = await session.read_response()
                if response.line.startswith(tag):
                    break
                session.check_untagged(response.line, "SEARCH")
        self._agreed(session.completion(tag, response.line), "search its mailbox")
        return found.numbers()

    async def facts(self, uids: Sequence[int]) -> Mapping[int, Fetched]:
        """Size and arrival of those of these messages that are there."""
        return await self._fetch(uids, "(UID RFC822.SIZE INTERNALDATE)")

    async def headers(self, uids: Sequence[int], size: int) -> Mapping[int, Fetched]:
        """The same with the first `size` bytes of the header; few at once, or it is too much."""
        return await self._fetch(uids, f"(UID INTERNALDATE BODY.PEEK[HEADER]<0.{size}>)")

    async def highest(self) -> int:
        """The highest UID; 0 if the mailbox is empty."""
        done = await self._session.command("UID FETCH * (UID)")
        return max((one.uid or 0 for one in _all_fetched(done)), default=0)

    async def messages(
        self, uids: Sequence[int]
    ) -> AsyncGenerator[Begun | bytes | Fetched | Completion, None]:
        """Fetch messages whole: Begun, blocks, and Fetched for each, and at last the Completion.

        The server decides which come, and in which order. Leaving early ends the session.
        """
        session = self._session
        whole = False
        try:
            self._moved()
            async with self._in_time("answer FETCH"):
                tag = await session.begin(b"UID FETCH %s (UID BODY.PEEK[])" % _set(uids))
            while True:
                async with self._in_time("answer FETCH"):
                    line = await self._wire.read_line()
                if line.startswith(tag):
                    break
                session.check_untagged(line, "FETCH")
                async for part in self._one(line):
                    yield part
                    self._moved()
            whole = True
        finally:
            if not whole:
                self._wire.usable = False
        yield session.completion(tag, line)

    async def idle(self, seconds: float, wake: asyncio.Event) -> bool:
        """Wait until mail changes, `wake` is set, or the time is over; False if it is refused."""
        session = self._session
        if session.changed:
            return True
        self._moved()
        async with self._in_time("answer IDLE"):
            tag = await session.begin(b"IDLE")
            while not (line := await self._wire.read_line()).startswith(b"+"):
                if line.startswith(tag):
                    return False
                session.check_untagged(line, "IDLE")
        await _Idling(session, tag).until(seconds, wake)
        return True

    async def _one(self, line: bytes) -> AsyncIterator[Begun | bytes | Fetched]:
        """The rest of a response, of which the first line was read."""
        text, literals = line, list[bytes]()
        streamed = False
        while (literal := announced(text)) is not None:
            if literal.is_message and not streamed:
                streamed = True
                yield Begun(literal.size)
                async for block in self._blocks(literal.size):
                    yield block
                literals.append(b"")
            else:
                async with self._in_time("answer FETCH"):
                    literals.append(await self._wire.read_exactly(literal.size))
            async with self._in_time("answer FETCH"):
                text += await self._wire.read_line()
        found = fetched(Response(text, tuple(literals)))
        if found is None:
            return
        if not streamed and found.body is not None:  # short enough for quotes, or nothing at all
            yield Begun(len(found.body))
            yield found.body
            streamed = True
        if streamed:
            yield found

    async def _blocks(self, size: int) -> AsyncIterator[bytes]:
        while size > 0:
            await asyncio.sleep(0)  # others have their turn, however fast the server is
            async with self._in_time("send a message"):
                block = await self._wire.read_block(min(size, BLOCK))
            size -= len(block)
            yield block

    async def _numbers(self, found: "_Lowest") -> None:
        """Take in one line of a search, however long it is."""
        wire = self._wire
        rest, newline = b"", b""
        while not newline:
            await asyncio.sleep(0)  # others have their turn, however fast the server is
            line, newline, after = (await wire.read_some()).partition(b"\n")
            wire.put_back(after)
            words = (rest + line).split(b" ")
            rest = b"" if newline else words.pop()
            wire.check(len(rest) <= _LONGEST_WORD, "a line without end")
            found.take(words)
            wire.check(found.met <= MAX_FOUND, "a reply without end")

    async def _fetch(self, uids: Sequence[int], what: str) -> Mapping[int, Fetched]:
        done = await self._session.command(f"UID FETCH {_set(uids).decode()} {what}")
        self._agreed(done, "show its messages")
        wanted = set(uids)
        return {one.uid: one for one in _all_fetched(done) if one.uid in wanted}

    def _agreed(self, done: Completion, doing: str) -> None:
        if done.status == "OK":
            return
        self._wire.usable = False
        if sounds_busy(done.text):
            raise server_busy(self._wire.where, done.text)
        raise fail(
            FailureKind.PROTOCOL,
            "host",
            f"{self._wire.where} does not {doing}: {done.text}",
            transient=True,
        )

    def _moved(self) -> None:
        self._moved_at = asyncio.get_running_loop().time()

    def _in_time(self, doing: str) -> AbstractAsyncContextManager[None]:
        """A deadline that is put off only by what has been asked for, whatever else is said."""
        passed = asyncio.get_running_loop().time() - self._moved_at
        left = max(0.1, round(self._seconds - passed, 1))
        return self._wire.within(left, doing)


class _Idling:
    """An IDLE that the server has agreed to. It is ended by DONE, and by that once."""

    def __init__(self, session: ImapSession, tag: bytes) -> None:
        self._session = session
        self._tag = tag
        self._ending = False

    async def until(self, seconds: float, wake: asyncio.Event) -> None:
        session, wire = self._session, self._session.wire
        try:
            async with asyncio.timeout(None) as limit:
                # what is read is never cut short, or bytes might be lost: the server is told
                caller = asyncio.create_task(self._call(seconds, wake, limit))
                try:
                    while not (line := await wire.read_line()).startswith(self._tag):
                        session.check_untagged(line, "IDLE")
                        if session.changed:
                            await self._done(limit)
                finally:
                    caller.cancel()
        except TimeoutError:
            wire.usable = False
            raise fail(
                FailureKind.TIMEOUT,
                "host",
                f"{wire.where} did not end IDLE within {session.deadlines.command:g} s",
                transient=True,
            ) from None
        except asyncio.CancelledError:
            with suppress(SessionError):
                async with wire.within(session.deadlines.close, "end IDLE"):
                    await self._done(None)
                    while not (await wire.read_line()).startswith(self._tag):
                        pass
            raise

    async def _call(self, seconds: float, wake: asyncio.Event, limit: asyncio.Timeout) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
        with suppress(SessionError):  # whoever reads finds out as well
            await self._done(limit)

    async def _done(self, limit: asyncio.Timeout | None) -> None:
        if not self._ending:
            self._ending = True
            if limit:
                now = asyncio.get_running_loop().time()
                limit.reschedule(now + self._session.deadlines.command)
            await self._session.wire.send(b"DONE")


def _all_fetched(done: Completion) -> list[Fetched]:
    return [one for response in done.untagged if (one := fetched(response))]


def _set(uids: Sequence[int]) -> bytes:
    return b",".join(b"%d" % uid for uid in uids)


class _Lowest:
    """The lowest of many numbers above one. `met` counts all words, whatever they were."""

    def __init__(self, above: int, most: int) -> None:
        self.met = 0
        self._above = above
        self._most = most
        self._found: list[int] = []

    def take(self, words: list[bytes]) -> None:
        """Numbers among them are UIDs; what else stands there is passed over."""
        self.met += len(words)
        found = [int(word) for word in map(bytes.strip, words) if _is_number(word)]
        self._found += [number for number in found if self._above < number <= MAX_UID]
        if len(self._found) > 2 * self._most:
            self._found = self.numbers()

    def numbers(self) -> list[int]:
        return sorted(set(self._found))[: self._most]


def _is_number(word: bytes) -> bool:
    return word.isdigit() and len(word) <= _UID_DIGITS
