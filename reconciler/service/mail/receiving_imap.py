"""Receiving over IMAP: what is new by its UID, and told at once where the server can.

The mailbox is never trusted to say what has changed. Whatever it says, or if it says nothing, the
UIDs above the last one that was stored are asked for.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.clock import stamp
from reconciler.errors import PlatformUnavailable
from reconciler.model import ReceiveFrom
from reconciler.service.faults import Unsound
from reconciler.service.mail.fetching_imap import Fetching, Mended
from reconciler.service.mail.intake import Intake
from reconciler.service.mail.prints import HEADER_BYTES, moment_of, print_of, sent_at
from reconciler.service.mail.progress import Cursor
from reconciler.service.mail.resync import Seen, Sorting, floor_of
from reconciler.service.sessions.imap import ImapSession
from reconciler.service.sessions.imap_mailbox import MAX_UID, ImapMailbox
from reconciler.service.work import Held

logger = logging.getLogger("gateways.receiving")

NEWEST: Final = 50
"""How many of the messages that are there at first contact are remembered by their prints."""

_SEARCHED: Final = 1_000
_HEADERS: Final = 40
"""Headers asked for at once: together they stay below what a reply may have."""

_REST_SECONDS: Final = 1.0
_FRUITLESS: Final = 2


class Renumbered(Exception):
    """The numbers of the mailbox are no longer those that it was opened with."""


async def receive_imap(held: Held) -> float:
    """The work of an IMAP session: until cancelled, or the session is better opened anew."""
    assert isinstance(held.session, ImapSession)  # noqa: S101 - the gateway's protocol says so
    intake = Intake(held)
    try:
        await _Receiving(held, held.session, intake).run()
    except (Renumbered, Mended):
        return 0.0
    except Unsound:
        raise
    except PlatformUnavailable as error:
        held.session.wire.usable = False  # a message may be half read
        logger.warning("%s: nothing is fetched for now: %s", held.name, error.message)
        return intake.settings.pause_seconds


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Which numbering UIDs belong to, and the last one that was dealt with.

    A server that gives no valid UIDVALIDITY has numbers for one session only: `kept` is False.
    """

    validity: int
    last: int

    @property
    def kept(self) -> bool:
        return 0 < self.validity <= MAX_UID

    def __str__(self) -> str:
        return f"{self.validity}.{self.last}" if self.kept else ""

    @classmethod
    def parse(cls, text: str) -> "_Numbers | None":
        validity, dot, last = text.partition(".")
        return cls(int(validity), int(last)) if dot else None


class _Receiving:
    """One open session's."""

    def __init__(self, held: Held, session: ImapSession, intake: Intake) -> None:
        self._held = held
        self._session = session
        self._intake = intake
        self._mailbox = ImapMailbox(session)
        self._fetching = Fetching(intake, self._mailbox, str(session.inbox.uid_validity))
        self._numbers = _Numbers(session.inbox.uid_validity, 0)
        self._cursor = Cursor(intake.mailbox)
        self._idles = True
        self._forgot_on = ""

    async def run(self) -> None:
        await self._session.learn_again()
        self._idles = "IDLE" in self._session.capabilities
        await self._intake.clear()
        await self._begin()
        while True:
            came = await self._catch_up()
            await self._forget()
            if not came and self._session.changed:
                await self._pause(_REST_SECONDS)  # it says that something changes all the time
                self._session.changed = False
            await self._wait()

    async def _begin(self) -> None:
        """Find out where to go on: the common case needs nothing of the server."""
        inbox, validity = self._session.inbox, self._numbers.validity
        found = await self._intake.look(lambda progress: progress.cursor())
        if found and found.mailbox == self._intake.mailbox:
            numbers = _Numbers.parse(found.text)
            went_back = numbers and inbox.uid_next and inbox.uid_next <= numbers.last
            if numbers and numbers.validity == validity and not went_back:
                self._numbers, self._cursor = numbers, found
                return
            await self._resync(found.floor)
        elif earliest := await self._intake.look(lambda progress: progress.earliest()):
            await self._begin_again(found, earliest)
        else:
            await self._first_contact()

    async def _begin_again(self, found: Cursor | None, earliest: str) -> None:
        """There were messages, but no cursor for this mailbox: it was lost, moved or exchanged."""
        if found:
            floor = found.floor
        else:
            wanted = self._held.actual.gateway.receive_from
            floor = "" if wanted is ReceiveFrom.ALL else earliest
        newest = await self._newest(MAX_UID)
        prints = [one.print for one in newest]
        known = await self._intake.look(lambda progress: progress.prints(prints))
        if found and not known:
            await self._first_contact()  # none of it is known: it is another mailbox
        else:
            await self._resync(floor)

    async def _first_contact(self) -> None:
        if self._held.actual.gateway.receive_from is ReceiveFrom.ALL:
            await self._move(0, floor="")
            if not self._numbers.kept:
                await self._resync("")
            return
        top = await self._top()
        newest = await self._newest(top)
        floor = floor_of(newest, self._held.service.clock())
        mailbox, now = self._intake.mailbox, stamp(self._held.service.clock())

        def remember(progress: "Progress") -> None:
            for one in newest:
                progress.remember(mailbox, self._fetching.identity(one.key, one.print), one.print, now)

        await self._intake.write(remember)
        await self._move(top, floor)
