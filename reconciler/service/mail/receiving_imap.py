"""Receiving over IMAP: what is new by its UID, and told at once where the server can.

The mailbox is never trusted to say what has changed. Whatever it says, and if it says nothing, the
UIDs above the last one that was dealt with are asked for.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NoReturn

from reconciler.clock import stamp
from reconciler.errors import PlatformUnavailable
from reconciler.model import ReceiveFrom
from reconciler.service.faults import Unsound
from reconciler.service.mail.fetching_imap import Fetching, Reopen
from reconciler.service.mail.intake import Intake
from reconciler.service.mail.prints import HEADER_BYTES, moment_of, print_of, sent_at
from reconciler.service.mail.progress import Cursor, Progress
from reconciler.service.mail.resync import (
    NEWEST,
    Seen,
    Sorting,
    arrivals_hold,
    floor_again,
    floor_of,
)
from reconciler.service.sessions.imap import ImapSession
from reconciler.service.sessions.imap_mailbox import MAX_UID, ImapMailbox
from reconciler.service.work import Held, Soon

logger = logging.getLogger("gateways.receiving")

_SEARCHED: Final = 1_000
_HEADERS: Final = 40
"""Headers asked for at once: together they stay below what a reply may have."""

_REST_SECONDS: Final = 1.0
_FRUITLESS: Final = 2
_MONTHS: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"


async def receive_imap(held: Held) -> float | Soon:
    """The work of an IMAP session: until cancelled, or the session is better opened anew."""
    intake = Intake(held)
    try:
        await _Receiving(held, intake).run()
    except Reopen:
        return Soon(intake.settings.poll_seconds)
    except Unsound:
        raise
    except PlatformUnavailable as error:
        held.session.wire.usable = False  # a message may be half read
        extra = {"tenant": held.tenant, "gateway": held.name}
        logger.warning("%s: nothing is fetched now: %s", held.name, error.message, extra=extra)
        return intake.settings.pause_seconds


async def look_imap(held: Held) -> bool:
    """Fetch what is new, once; False if another session is needed for the rest of it.

    Raises:
        PlatformUnavailable: it cannot be stored.
        SessionError: the session was lost.

    """
    try:
        await _Receiving(held, Intake(held)).look()
    except Reopen:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Numbers:
    """What UIDs belong to, and the last one that was dealt with.

    Without a valid UIDVALIDITY they are good for one session only, and are never stored.
    """

    validity: int
    last: int

    @property
    def kept(self) -> bool:
        return 0 < self.validity <= MAX_UID

    def __str__(self) -> str:
        return f"{self.validity}.{self.last}" if self.kept else ""

    @classmethod
    def parse(cls, text: str) -> "Numbers | None":
        validity, dot, last = text.partition(".")
        return cls(int(validity), int(last)) if dot else None


class _Receiving:
    """One open session's."""

    def __init__(self, held: Held, intake: Intake) -> None:
        session = held.session
        assert isinstance(session, ImapSession)  # noqa: S101 - the gateway's protocol says so
        validity = session.inbox.uid_validity
        self._held = held
        self._session = session
        self._intake = intake
        self._mailbox = ImapMailbox(session)
        self._fetching = Fetching(intake, self._mailbox, validity)
        self._numbers = Numbers(validity, 0)
        self._cursor = Cursor(intake.mailbox)
        self._idles = False
        self._forgot_on = ""

    async def run(self) -> NoReturn:
        await self._session.learn_again()
        self._idles = "IDLE" in self._session.capabilities
        came = await self.look()
        while True:
            if self._session.changed and not came:
                await self._pause(_REST_SECONDS)  # it says so all the time: not in circles
            else:
                await self._wait()
            came = await self._catch_up()

    async def look(self) -> bool:
        """Everything that is there now; whether any of it was new."""
        await self._intake.clear()
        await self._begin()
        return await self._catch_up()

    async def _begin(self) -> None:
        """Find out where to go on; mostly nothing needs to be asked for that."""
        inbox = self._session.inbox
        found = await self._intake.look(lambda progress: progress.cursor())
        if found and found.mailbox == self._intake.mailbox:
            numbers = Numbers.parse(found.text)
            same = numbers is not None and numbers.validity == inbox.uid_validity
            if numbers and same and not 0 < inbox.uid_next <= numbers.last:
                self._numbers, self._cursor = numbers, found
                return
            await self._resync(found.floor)
        elif earliest := await self._intake.look(lambda progress: progress.earliest()):
            await self._begin_again(found, earliest)
        else:
            await self._first_contact()

    async def _begin_again(self, found: Cursor | None, earliest: str) -> None:
        """There was mail, but there is no cursor for this mailbox: it moved, or a row was lost."""
        if found is None:
            wanted = self._held.actual.gateway.receive_from
            await self._resync(floor_again(earliest, wanted))
            return
        prints = [one.print for one in await self._newest(MAX_UID)]
        if await self._intake.look(lambda progress: progress.prints(prints)):
            await self._resync(found.floor)
        else:
            await self._first_contact()  # nothing in it is known: it is another mailbox

    async def _first_contact(self) -> None:
        if self._held.actual.gateway.receive_from is ReceiveFrom.ALL:
            if self._numbers.kept:
                await self._intake.keep((), self._at(0))
            else:
                await self._resync("", seen_before=False)
            return
        top = await self._top()
        newest = await self._newest(top)
        now = self._held.service.clock()
        self._cursor = replace(self._cursor, floor=floor_of(newest, now))

        def remember(progress: Progress) -> None:
            for one in newest:
                identity = self._fetching.identity(one.key, one.print)
                progress.remember(self._intake.mailbox, identity, one.print, stamp(now))
            progress.move(self._at(top))

        await self._intake.write(remember)
        self._numbers = replace(self._numbers, last=top)

    async def _resync(self, floor: str, *, seen_before: bool = True) -> None:
        """Go through the mailbox by prints, and store what is new. Cut short it begins anew."""
        top = await self._top()
        newest = await self._newest(MAX_UID)
        holds = await self._intake.look(lambda progress: arrivals_hold(progress, newest))
        sorting = Sorting(self._intake, floor, arrivals_hold=holds)
        above = 0
        while uids := await self._mailbox.search(_since(floor), above, _SEARCHED):
            for start in range(0, len(uids), _HEADERS):
                seen = await self._seen(uids[start : start + _HEADERS])
                fresh = [one.key for one in await sorting.new(seen)]
                await self._fetching.take(fresh, lambda _: None, resync=seen_before)
            above = uids[-1]
        self._check_numbers()
        self._cursor = replace(self._cursor, floor=floor)
        self._numbers = replace(self._numbers, last=max(top, above))
        await self._intake.keep((), self._at(self._numbers.last))

    async def _catch_up(self) -> bool:
        """Store what is new; whether there was anything."""
        came, fruitless = False, 0
        while fruitless < _FRUITLESS:
            self._session.changed = False
            last = self._numbers.last
            uids = await self._mailbox.search(f"UID {min(last + 1, MAX_UID)}:*", last, _SEARCHED)
            self._check_numbers()
            if uids:
                await self._fetching.take(uids, self._at)
                self._check_numbers()
                self._numbers = replace(self._numbers, last=uids[-1])
            came, fruitless = came or bool(uids), fruitless + (not uids)
            if not self._session.changed and len(uids) < _SEARCHED:
                break
        await self._forget()
        return came

    async def _wait(self) -> None:
        settings = self._intake.settings
        if self._idles:
            self._idles = await self._mailbox.idle(settings.idle_seconds, self._held.wake)
            self._held.wake.clear()
        if not self._idles:
            await self._pause(settings.poll_seconds)
            await self._session.keep_alive()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._held.wake.wait()
        self._held.wake.clear()

    async def _forget(self) -> None:
        """Once a day, and only when everything that is there has been dealt with."""
        today = stamp(self._held.service.clock())[:10]
        if today != self._forgot_on:
            self._forgot_on, before = today, self._cursor
            self._cursor = await self._intake.forget(before)
            if self._cursor != before:
                await self._intake.keep((), self._at(self._numbers.last))

    async def _top(self) -> int:
        """The highest UID that was there when the mailbox was opened, or a little later."""
        uid_next = self._session.inbox.uid_next
        return uid_next - 1 if 0 < uid_next <= MAX_UID else await self._mailbox.highest()

    async def _newest(self, top: int) -> list[Seen]:
        first = max(1, self._session.inbox.exists - NEWEST + 1)
        if not self._session.inbox.exists:
            return []
        uids = await self._mailbox.search(f"{first}:*", 0, _SEARCHED)
        chosen = [uid for uid in uids if uid <= top][-NEWEST:]
        seen: list[Seen] = []
        for start in range(0, len(chosen), _HEADERS):
            seen += await self._seen(chosen[start : start + _HEADERS])
        return seen

    async def _seen(self, uids: list[int]) -> list[Seen]:
        found = await self._mailbox.headers(uids, HEADER_BYTES)
        return [
            Seen(uid, print_of(one.header), moment_of(one.internal_date), sent_at(one.header))
            for uid, one in sorted(found.items())
        ]

    def _at(self, last: int) -> Cursor:
        return replace(self._cursor, text=str(replace(self._numbers, last=last)))

    def _check_numbers(self) -> None:
        """Raises Reopen where the server has said meanwhile that it numbers anew."""
        if self._session.inbox.uid_validity != self._numbers.validity:
            raise Reopen


def _since(floor: str) -> str:
    """A search for what arrived from then on. Servers leave out the time, and its zone."""
    if not floor:
        return "UID 1:*"
    day = datetime.fromisoformat(floor) - timedelta(days=2)
    month = _MONTHS[3 * day.month - 3 : 3 * day.month]
    return f"SINCE {day.day}-{month}-{day.year}"
