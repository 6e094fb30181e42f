"""Fetching messages over POP3, and storing each with what it is called."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Final

from reconciler.service.mail.inbox import PIECE, Arrived
from reconciler.service.mail.intake import (
    MAX_STUMBLES,
    NOT_FETCHED,
    TOO_LARGE,
    Incoming,
    Intake,
)
from reconciler.service.mail.prints import HEADER_BYTES
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.pop3_maildrop import Maildrop, Refused

HOLD_SECONDS: Final = 300.0
"""How long a maildrop is kept from others at most, but for the message that is under way."""

_TOGETHER: Final = 50


class Reopen(Exception):
    """The session is of no more use, through no fault of the connection: open another."""


class _TooLarge(Exception):
    """The message is larger than the server said."""


class Fetching:
    """One open session's. `listed` is what all messages are called that the server has."""

    def __init__(self, intake: Intake, drop: Maildrop) -> None:
        self.listed: frozenset[str] = frozenset()
        self._intake = intake
        self._drop = drop
        self._sizes: Mapping[int, int] | None = None
        self._has_top = True
        self._stumbled = False
        self._waiting: list[Arrived] = []
        self._until = asyncio.get_running_loop().time() + HOLD_SECONDS

    async def sizes(self) -> Mapping[int, int]:
        """What the server says of sizes, which need not be so; nothing if it will not say."""
        if self._sizes is None:
            self._sizes = {}
            with suppress(Refused):
                self._sizes = await self._drop.sizes()
        return self._sizes

    async def header(self, number: int) -> bytes:
        """The beginning of a message; a server without TOP has to send all of it for that."""
        most = self._intake.settings.max_bytes + HEADER_BYTES
        if self._has_top:
            try:
                return await self._drop.header(number, HEADER_BYTES, most)
            except Refused:
                self._has_top = False
        with suppress(Refused):
            return await self._drop.header(number, HEADER_BYTES, most, top=False)
        return b""

    async def take(
        self, called: Mapping[int, str], numbers: Sequence[int], *, resync: bool = False
    ) -> bool:
        """Store these messages; False if some are left for the next session.

        Raises:
            PlatformUnavailable: they cannot be stored.
            Reopen: the rest is to be taken through another session.
            SessionError: the server does not send them.

        """
        sizes = await self.sizes() if numbers else {}
        whole = True
        for number in numbers:
            identity = called[number]
            size = sizes.get(number, 0)
            if size > PIECE:
                await self._keep_waiting()  # they need not wait for what may be refused room
            if reason := await self._left(identity, size):
                await self._leave(number, identity, size, reason)
            else:
                whole &= await self._one(number, identity, resync=resync)
            if asyncio.get_running_loop().time() > self._until:
                whole = whole and number == numbers[-1]
                break
        await self._keep_waiting()
        return whole

    async def _left(self, identity: str, size: int) -> str:
        """Why a message is not fetched at all."""
        if size > self._intake.settings.max_bytes:
            return TOO_LARGE
        stumbled = await self._intake.look(lambda progress: progress.stumbled())
        given_up = stumbled[0] == identity and stumbled[1] >= MAX_STUMBLES
        return NOT_FETCHED if given_up else ""

    async def _leave(self, number: int, identity: str, size: int, reason: str) -> None:
        header = await self.header(number) if reason is TOO_LARGE and self._has_top else b""
        await self._keep_waiting()
        left = self._intake.left_behind(lambda _: identity, size, reason, header)
        await self._intake.keep([left])

    async def _one(self, number: int, identity: str, *, resync: bool) -> bool:
        """Fetch one message; False if the server would not send it this time."""
        incoming = self._intake.incoming(resync=resync)
        try:
            await self._stream(number, incoming)
        except Refused:
            await self._stumble(identity)
            return False
        except SessionError:
            await self._keep_waiting()
            await self._stumble(identity)
            raise
        except _TooLarge:
            size = incoming.size
            await self._keep_waiting()
            await self._intake.keep(
                [self._intake.left_behind(lambda _: identity, size, TOO_LARGE, incoming.head)]
            )
            raise Reopen from None
        arrived = incoming.arrived(lambda _: identity)
        if await self._was_renamed(arrived):
            await incoming.discard()
            return True
        self._waiting.append(arrived)
        if len(self._waiting) == _TOGETHER or self._in_memory > PIECE:
            await self._keep_waiting()
        return True

    async def _stream(self, number: int, incoming: Incoming) -> None:
        async with aclosing(self._drop.message(number)) as blocks:
            async for block in blocks:
                await incoming.take(block)
                if incoming.size > self._intake.settings.max_bytes:
                    raise _TooLarge
                self._intake.need_room(len(block))
        await incoming.finish()

    async def _was_renamed(self, arrived: Arrived) -> bool:
        """Whether it is one that was dealt with, which the server calls otherwise now."""
        mailbox = self._intake.mailbox
        before = await self._intake.look(lambda found: found.called(mailbox, arrived.print))
        gone = next((one for one in before if one not in self.listed), None)
        if gone is None:
            return False
        await self._intake.write(lambda found: found.rename(mailbox, gone, arrived.identity))
        return True

    @property
    def _in_memory(self) -> int:
        return sum(len(one.content) for one in self._waiting)

    async def _keep_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            await self._intake.keep(waiting)

    async def _stumble(self, identity: str) -> None:
        """Count it, but only the first of a look: others have their turn when that is listed."""
        if not self._stumbled:
            self._stumbled = True
            await self._intake.write(lambda progress: progress.stumble(identity))
