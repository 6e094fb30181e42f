"""Receiving over POP3: one look at the maildrop, and nothing in it is deleted.

A server may name its messages for good (UIDL), name several alike, name them anew, or not at all.
A name that is not a message's own is taken together with the message's print. Fetched is what is
listed and was never dealt with.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from reconciler.clock import stamp
from reconciler.errors import PlatformUnavailable
from reconciler.model import ReceiveFrom
from reconciler.service.faults import Unsound
from reconciler.service.mail.fetching_pop3 import Fetching, Reopen
from reconciler.service.mail.intake import Intake
from reconciler.service.mail.prints import delivered_at, print_of
from reconciler.service.mail.progress import Cursor, Progress
from reconciler.service.mail.resync import NEWEST, Seen, Sorting, floor_again, floor_of
from reconciler.service.sessions.pop3 import Pop3Session
from reconciler.service.sessions.pop3_maildrop import Maildrop, Refused
from reconciler.service.work import Held, Soon

T = TypeVar("T")

logger = logging.getLogger("gateways.receiving")

_AT_ONCE: Final = 500
_DAY_LETTERS: Final = 10
_SORTING: Final = "sorting"
"""The cursor while the maildrop is gone through by prints: that is not left half done."""


async def receive_pop3(held: Held) -> float | Soon:
    """The work of a POP3 session: one look, then others may have the maildrop."""
    settings = held.service.settings.receiving
    try:
        finished = await look_pop3(held)
    except Unsound:
        raise
    except PlatformUnavailable as error:
        held.session.wire.usable = False  # a message may be half read
        extra = {"tenant": held.tenant, "gateway": held.name}
        logger.warning("%s: nothing is fetched now: %s", held.name, error.message, extra=extra)
        return settings.pause_seconds
    return settings.poll_seconds if finished else Soon(settings.poll_seconds)


async def look_pop3(held: Held) -> bool:
    """Fetch what is new, once; False if another session is needed for the rest of it.

    Raises:
        PlatformUnavailable: it cannot be stored.
        SessionError: the session was lost.

    """
    try:
        return await _Look(held, Intake(held)).run()
    except Reopen:
        return False


class _Look:
    """One look at the maildrop of an open session."""

    def __init__(self, held: Held, intake: Intake) -> None:
        session = held.session
        assert isinstance(session, Pop3Session)  # noqa: S101 - the gateway's protocol says so
        self._held = held
        self._intake = intake
        self._drop = Maildrop(session)
        self._fetching = Fetching(intake, self._drop)
        self._now = stamp(held.service.clock())

    async def run(self) -> bool:
        """Whether everything that is there has been dealt with."""
        await self._intake.clear()
        found = await self._intake.look(lambda progress: progress.cursor())
        cursor = found if found and found.mailbox == self._intake.mailbox else None
        names = await self._names()
        doubted = await self._doubted(names)
        whole = f"{self._now[:_DAY_LETTERS]} {_digest(names)}"
        if cursor and cursor.text == whole and not doubted:
            return True
        called = await self._called(names, doubted)
        known = await self._known(list(called.values()))
        fresh = [number for number in sorted(called) if called[number] not in known]
        self._fetching.listed = frozenset(called.values())
        if cursor is None:
            cursor, fresh = await self._begin(found, called, fresh)
        elif fresh and not known:
            cursor = replace(cursor, text=_SORTING)  # it knows nothing of what it once listed
        if cursor.text == _SORTING:
            finished = await self._sort(cursor, called, fresh)
        else:
            finished = await self._fetching.take(called, fresh)
        if finished:
            await self._finish(cursor, whole, called)
        return finished

    async def _names(self) -> dict[int, str]:
        """What the server calls each message; the empty name is no message's own."""
        with suppress(Refused):
            return await self._drop.unique_ids()
        return dict.fromkeys(await self._fetching.sizes(), "")

    async def _doubted(self, names: Mapping[int, str]) -> frozenset[str]:
        """The names that are, or once were, those of more than one message."""
        mailbox, now = self._intake.mailbox, self._now
        before = await self._intake.look(lambda progress: progress.doubted(mailbox))
        several = {name for name, count in Counter(names.values()).items() if count > 1}
        several |= {""}.intersection(names.values())
        for name in several - before:
            await self._intake.write(partial(Progress.doubt, mailbox=mailbox, name=name, now=now))
        return (before | several).intersection(names.values())

    async def _called(self, names: Mapping[int, str], doubted: frozenset[str]) -> dict[int, str]:
        """What each message is called here: its name, if that is its own."""
        called: dict[int, str] = {}
        times: Counter[str] = Counter()
        sizes = await self._fetching.sizes() if "" in doubted else {}
        for number in sorted(names):
            name = names[number]
            if name in doubted:
                size = f"/{sizes[number]}" if number in sizes else ""
                name = f"{name} {print_of(await self._fetching.header(number))}{size}"
                times[name] += 1
                name = f"{name} {times[name]}"
            called[number] = name
        return called

    async def _known(self, identities: Sequence[str]) -> frozenset[str]:
        mailbox = self._intake.mailbox
        known: set[str] = set()
        for some in _portions(identities):
            known |= await self._intake.look(
                partial(Progress.known, mailbox=mailbox, identities=some)
            )
        return frozenset(known)

    async def _begin(
        self, found: Cursor | None, called: Mapping[int, str], fresh: list[int]
    ) -> tuple[Cursor, list[int]]:
        """There is no cursor for this maildrop: it is new, was moved, or a row was lost."""
        wanted, mailbox = self._held.actual.gateway.receive_from, self._intake.mailbox
        earliest = await self._intake.look(lambda progress: progress.earliest())
        if earliest and found is None:
            return Cursor(mailbox, _SORTING, floor_again(earliest, wanted)), fresh
        newest = [await self._seen(number) for number in sorted(called)[-NEWEST:]]
        prints = [one.print for one in newest]
        met = await self._intake.look(lambda progress: progress.prints(prints))
        if found and met:
            return Cursor(mailbox, _SORTING, found.floor), fresh
        if wanted is ReceiveFrom.ALL:
            cursor = Cursor(mailbox)
            await self._intake.keep((), cursor)
            return cursor, fresh
        cursor = Cursor(mailbox, "", floor_of(newest, self._held.service.clock()))
        await self._pass_over(cursor, called, fresh, newest)
        return cursor, []

    async def _pass_over(
        self,
        cursor: Cursor,
        called: Mapping[int, str],
        numbers: Sequence[int],
        newest: Sequence[Seen],
    ) -> None:
        """Remember what is not new, the newest by their prints and last: then it is complete."""
        prints = {one.key: one.print for one in newest}
        await self._remember([called[one] for one in numbers if one not in prints])

        def remember(progress: Progress) -> None:
            for number, mark in prints.items():
                progress.remember(cursor.mailbox, called[number], mark, self._now)
            progress.move(cursor)

        await self._intake.write(remember)

    async def _remember(self, identities: Sequence[str]) -> None:
        mailbox, now = self._intake.mailbox, self._now

        def remember(progress: Progress, some: Sequence[str]) -> None:
            for identity in some:
                progress.remember(mailbox, identity, "", now)

        for some in _portions(identities):
            await self._intake.write(partial(remember, some=some))

    async def _sort(self, cursor: Cursor, called: Mapping[int, str], fresh: Sequence[int]) -> bool:
        """Fetch what is new although every name is; the others are remembered by their names."""
        await self._intake.keep((), cursor)
        sorting = Sorting(self._intake, cursor.floor)
        new: set[int] = set()
        for some in _portions(fresh):
            seen = [await self._seen(number) for number in some]
            new.update(one.key for one in await sorting.new(seen))
        await self._remember([called[number] for number in fresh if number not in new])
        return await self._fetching.take(called, sorted(new), resync=sorting.evident)

    async def _seen(self, number: int) -> Seen:
        header = await self._fetching.header(number)
        return Seen(number, print_of(header), delivered_at(header))

    async def _finish(self, cursor: Cursor, whole: str, called: Mapping[int, str]) -> None:
        """Note that everything listed has been dealt with; once a day also what is listed still."""
        if cursor.text[:_DAY_LETTERS] != whole[:_DAY_LETTERS]:
            for some in _portions(list(called.values())):
                await self._intake.write(
                    partial(
                        Progress.seen,
                        mailbox=cursor.mailbox,
                        identities=some,
                        now=self._now,
                    )
                )
            cursor = await self._intake.forget(cursor)
        await self._intake.keep((), replace(cursor, text=whole))


def _digest(names: Mapping[int, str]) -> str:
    text = "\n".join(f"{number} {names[number]}" for number in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _portions(values: Sequence[T]) -> list[Sequence[T]]:
    return [values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE)]
