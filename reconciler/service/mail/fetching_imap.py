"""Fetching messages over IMAP, in the order of their UIDs, and storing each with its place.

Small ones are asked for and stored together. What the server sends is taken for what was asked for
only if it says so itself; what it does not send is looked for once more before it counts as gone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import takewhile
from typing import Final

from reconciler.model import FailureKind
from reconciler.service.mail.inbox import PIECE, Arrived
from reconciler.service.mail.intake import (
    MAX_STUMBLES,
    NOT_FETCHED,
    TOO_LARGE,
    Incoming,
    Intake,
)
from reconciler.service.mail.prints import HEADER_BYTES
from reconciler.service.mail.progress import Cursor
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.failures import fail
from reconciler.service.sessions.imap import Completion
from reconciler.service.sessions.imap_fetch import Fetched
from reconciler.service.sessions.imap_mailbox import Begun, ImapMailbox

_ASKED: Final = 200
_TOGETHER: Final = 50
_IN_MEMORY: Final = 4 * PIECE

CursorAt = Callable[[int], Cursor | None]
"""The cursor once everything up to a UID has been dealt with; none while there is none."""


class Reopen(Exception):
    """The session is of no more use, through no fault of the connection: open another."""


class _TooLarge(Exception):
    """The message that comes now is larger than the server said."""


class Fetching:
    """One open session's; `validity` is what its UIDs belong to."""

    def __init__(self, intake: Intake, mailbox: ImapMailbox, validity: int) -> None:
        self._intake = intake
        self._mailbox = mailbox
        self._validity = validity

    def identity(self, uid: int, mark: str) -> str:
        """What a message is called; with the print, since servers have been known to go back."""
        return f"{self._validity}.{uid}.{mark[:8]}"

    async def take(self, uids: Sequence[int], cursor_at: CursorAt, *, resync: bool = False) -> None:
        """Store these messages, in ascending order, and move the cursor behind each.

        Raises:
            PlatformUnavailable: they cannot be stored.
            Reopen: the rest is to be taken through another session.
            SessionError: the server does not send them.

        """
        for start in range(0, len(uids), _ASKED):
            some = uids[start : start + _ASKED]
            facts = await self._mailbox.facts(some)
            await self._expect_gone([uid for uid in some if uid not in facts])
            stumbled = await self._intake.look(lambda progress: progress.stumbled())
            for run in self._runs([uid for uid in some if uid in facts], facts, stumbled[0]):
                if reason := self._left(run[0], facts, stumbled):
                    await self._leave(run[0], facts[run[0]].size or 0, reason, cursor_at)
                else:
                    await self._take(run, cursor_at, resync=resync)
            if cursor := cursor_at(some[-1]):
                await self._intake.keep((), cursor)  # what is gone needs not be asked for again

    def _runs(
        self, uids: Sequence[int], facts: Mapping[int, Fetched], stumbled: str
    ) -> Iterator[list[int]]:
        """What is fetched together: as much as fits in a piece, and nothing doubtful."""
        most = min(PIECE, self._intake.settings.max_bytes)
        run: list[int] = []
        total = 0
        for uid in uids:
            size = facts[uid].size
            alone = size is None or size > most or self._called(uid) == stumbled
            if run and (alone or total + (size or 0) > PIECE or len(run) == _TOGETHER):
                yield run
                run, total = [], 0
            run.append(uid)
            total += size or 0
            if alone:
                yield run
                run, total = [], 0
        if run:
            yield run

    def _left(self, uid: int, facts: Mapping[int, Fetched], stumbled: tuple[str, int]) -> str:
        """Why a message is not fetched at all."""
        if (facts[uid].size or 0) > self._intake.settings.max_bytes:
            return TOO_LARGE
        given_up = stumbled[0] == self._called(uid) and stumbled[1] >= MAX_STUMBLES
        return NOT_FETCHED if given_up else ""

    async def _leave(self, uid: int, size: int, reason: str, cursor_at: CursorAt) -> None:
        header = b""
        if reason is TOO_LARGE:
            found = await self._mailbox.headers([uid], HEADER_BYTES)
            header = found[uid].header if uid in found else b""
        left = self._intake.left_behind(lambda mark: self.identity(uid, mark), size, reason, header)
        await self._intake.keep([left], cursor_at(uid))

    async def _take(self, run: list[int], cursor_at: CursorAt, *, resync: bool) -> None:
        got: dict[int, Arrived] = {}
        try:
            done = await self._stream(run, got, resync=resync)
        except (SessionError, _TooLarge) as error:
            missing = await self._keep_first(run, got, cursor_at)
            if isinstance(error, SessionError):
                await self._stumble(missing)
                raise
            await self._refuse(run, missing, cursor_at)
            raise Reopen from None
        if done.status != "OK":
            missing = await self._keep_first(run, got, cursor_at)
            await self._stumble(missing)
            raise self._withheld(missing, done.text)
        await self._expect_gone([uid for uid in run if uid not in got])
        await self._intake.keep([got[uid] for uid in run if uid in got], cursor_at(run[-1]))

    async def _stream(self, run: list[int], got: dict[int, Arrived], *, resync: bool) -> Completion:
        incoming = self._intake.incoming(resync=resync)
        held = 0
        async with aclosing(self._mailbox.messages(run)) as parts:
            async for part in parts:
                match part:
                    case Begun():
                        self._admit(part.size)
                        incoming = self._intake.incoming(resync=resync)
                    case bytes():
                        await incoming.take(part)
                        if held + incoming.in_memory > _IN_MEMORY:
                            await incoming.to_disk()
                    case Fetched():
                        await incoming.finish()
                        if part.uid is not None and part.uid in run and part.uid not in got:
                            got[part.uid] = self._arrived(part.uid, incoming)
                            held += incoming.in_memory
                        else:
                            await incoming.discard()
                    case Completion():
                        return part
        raise AssertionError("messages end with their completion")

    def _arrived(self, uid: int, incoming: Incoming) -> Arrived:
        return incoming.arrived(lambda mark: self.identity(uid, mark))

    def _admit(self, size: int) -> None:
        if size > self._intake.settings.max_bytes:
            raise _TooLarge
        self._intake.need_room(size)

    async def _keep_first(
        self, run: list[int], got: Mapping[int, Arrived], cursor_at: CursorAt
    ) -> int:
        """Store what came whole and in order; the result is the first that did not."""
        whole = list(takewhile(lambda uid: uid in got, run))
        if whole:
            await self._intake.keep([got[uid] for uid in whole], cursor_at(whole[-1]))
        return run[min(len(whole), len(run) - 1)]

    async def _refuse(self, run: list[int], missing: int, cursor_at: CursorAt) -> None:
        """List what turned out to be too large, if it is sure which one that is."""
        if run == [missing]:
            left = self._intake.left_behind(
                lambda mark: self.identity(missing, mark),
                self._intake.settings.max_bytes + 1,
                TOO_LARGE,
            )
            await self._intake.keep([left], cursor_at(missing))
        else:
            await self._stumble(missing)

    async def _expect_gone(self, uids: Sequence[int]) -> None:
        """Raises SessionError where a message that was not sent is still there."""
        if uids:
            keys = "UID " + ",".join(map(str, uids))
            still = await self._mailbox.search(keys, 0, len(uids))
            if left := set(still).intersection(uids):
                await self._stumble(min(left))
                raise self._withheld(min(left), "it says nothing of it")

    async def _stumble(self, uid: int) -> None:
        await self._intake.write(lambda progress: progress.stumble(self._called(uid)))

    def _called(self, uid: int) -> str:
        return f"{self._validity}.{uid}"

    def _withheld(self, uid: int, said: str) -> SessionError:
        return fail(
            FailureKind.PROTOCOL,
            "host",
            f"{self._mailbox.where} does not send the message with UID {uid}: {said}",
            f"after {MAX_STUMBLES} attempts it is listed without its content, and mail goes on",
            transient=True,
        )
