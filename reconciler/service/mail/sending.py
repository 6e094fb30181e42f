"""Sending what is queued for a gateway: the work of its session.

A message is claimed, on disk, before any of it goes out, and noted just before its end does. So
whatever happens to this process or the connection, it is known of every message whether it was
handed over; where it was and the answer is not known, it is never sent again by itself.

Several messages are claimed at once, and the next of them while these go out, so that waiting for
the disk and waiting for the server happen at the same time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from reconciler.errors import PlatformUnavailable
from reconciler.service.mail.attempts import Attempts
from reconciler.service.mail.queue import Claimed
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.base import MailSession
from reconciler.service.sessions.sasl import server_busy
from reconciler.service.sessions.smtp import Envelope, SmtpSession
from reconciler.service.sessions.transfer import Manner, Transfer
from reconciler.service.work import Held

logger = logging.getLogger("gateways.sending")

LOT: Final = 8
"""How many messages are claimed at once: enough to send while the next are claimed."""

_STALE_SECONDS: Final = 5.0
"""A session that has been quiet for so long may have been closed by the server, as many do."""

_QUIET_LIMIT: Final = 80
"""NOOPs in a row before the session is made anew: Postfix takes a hundred for abuse."""

_NO_DISK_SECONDS: Final = 5.0
_NO_HELP_SECONDS: Final = 60.0


async def send(held: Held) -> float:
    """Send what is queued, and what will be, until cancelled or the session must be made anew.

    Raises:
        SessionError: the session was lost while it was in use.

    """
    return await Sender(held).run()


async def send_once(held: Held) -> None:
    """Send what is due now, and return. Raises SessionError."""
    await Sender(held).run(once=True)


class _Again(Exception):
    """The session is to be closed, and opened again after some seconds; nothing has failed."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Sender:
    """The work of one gateway's session, and of others that help with a long queue."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._service = held.service
        self._settings = held.service.settings.outbox
        self._attempts = Attempts(held.service, held.tenant, held.name)
        self._heard: dict[MailSession, float] = {}
        self._claims: set[asyncio.Task[deque[Claimed]]] = set()
        self._helpers: set[asyncio.Task[None]] = set()
        self._no_help_before = 0.0

    async def run(self, *, once: bool = False) -> float:
        try:
            await self._attempts.settle_interrupted()
            return await self._keep_sending(self._held.session, once=once)
        except _Again as again:
            return again.seconds
        except PlatformUnavailable:
            return _NO_DISK_SECONDS
        finally:
            for helper in self._helpers:
                helper.cancel()
            under_way = [*self._helpers, *self._claims]
            if under_way:
                await asyncio.wait(under_way)
            await self._attempts.finish()

    async def _keep_sending(self, session: MailSession, *, once: bool) -> float:
        assert isinstance(session, SmtpSession)  # noqa: S101 - it is the work of no other
        self._hears(session)
        quiet = 0
        while quiet < _QUIET_LIMIT:
            self._held.wake.clear()
            lot, wait = await self._claim_due()
            if lot:
                await self._send_all(session, lot)
                quiet = 0
            elif once:
                if self._helpers:
                    await asyncio.wait(self._helpers)
                break
            elif await self._nothing_comes(session, wait):
                quiet += 1
                await self._keep_alive(session)
        return 0.0

    async def _nothing_comes(self, session: MailSession, wait: float) -> bool:
        """Wait until there may be something to send; True if the session needs a sign of life."""
        loop = asyncio.get_running_loop()
        alive = self._heard[session] + self._settings.keep_alive - loop.time()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(wait, alive))):
                await self._held.wake.wait()
        return not self._held.wake.is_set() and alive <= wait

    async def _keep_alive(self, session: MailSession) -> None:
        try:
            await session.keep_alive()
        except SessionError:
            raise _Again from None  # servers close quiet sessions, and that is no failure
        self._hears(session)

    def _hears(self, session: MailSession) -> None:
        self._heard[session] = asyncio.get_running_loop().time()

    # claiming

    async def _claim_due(self) -> tuple[deque[Claimed], float]:
        """What is due, if anything is; else the seconds until something will be."""
        try:
            wait = await self._attempts.next_due()
            if wait is None:
                return deque(), self._settings.keep_alive
            return (deque(), wait) if wait > 0 else (await self._attempts.claim(LOT), 0.0)
        except PlatformUnavailable:
            return deque(), _NO_DISK_SECONDS

    def _claim_more(self) -> asyncio.Task[deque[Claimed]]:
        """While a lot goes out; whoever does not take the result gives it back."""
        task = asyncio.create_task(self._attempts.claim(LOT))
        self._claims.add(task)
        task.add_done_callback(self._claims.discard)
        return task

    def _leave(self, lot: deque[Claimed], more: asyncio.Task[deque[Claimed]] | None) -> None:
        self._attempts.put_back(lot)
        if more:
            more.add_done_callback(self._give_back)

    def _give_back(self, claim: asyncio.Task[deque[Claimed]]) -> None:
        if not claim.cancelled() and claim.exception() is None:
            self._attempts.put_back(claim.result())

    # sending

    async def _send_all(self, session: SmtpSession, lot: deque[Claimed]) -> None:
        """Send a lot, and then others until nothing is due."""
        while lot:
            more = self._claim_more() if len(lot) == LOT else None
            try:
                while lot:
                    message = lot.popleft()
                    await self._send(session, message, _soon(lot))
                if more:
                    lot = await asyncio.shield(more)
            except PlatformUnavailable:
                self._leave(lot, more)
                raise _Again(_NO_DISK_SECONDS) from None
            except BaseException:
                self._leave(lot, more)
                raise
            if len(lot) == LOT:
                self._get_help()
            elif not lot:
                lot, _ = await self._claim_due()

    async def _send(
        self, session: SmtpSession, message: Claimed, following: Envelope | None
    ) -> None:
        handovers, attempts = self._service.handovers, self._attempts
        number, attempt = message.number, message.waiting.attempts
        manner = Manner(
            lambda: handovers.note(number, attempt),
            careful=attempt > 0,
            following=following,
            farewell=self._settings.farewell,
        )
        transfer = Transfer(session, _envelope(message), manner)
        try:
            answers = await transfer.run(self._pieces(message))
        except SessionError as error:
            self._failed(session, message, transfer, error)
            raise asyncio.CancelledError if transfer.cancelled else error from None
        except BaseException:
            session.wire.abort()
            if transfer.handed_over:
                attempts.unknown(message, "it was stopped before the server answered")
            else:
                attempts.put_back([message])
            raise
        self._hears(session)
        attempts.answered(message, answers)
        if transfer.cancelled:
            session.wire.abort()  # the next message may be begun already
            raise asyncio.CancelledError
        if not session.wire.usable:
            raise server_busy(session.wire.where, answers[-1].text)

    def _failed(
        self, session: SmtpSession, message: Claimed, transfer: Transfer, error: SessionError
    ) -> None:
        """Say of a message what the loss of the session means for it."""
        quiet = asyncio.get_running_loop().time() - self._heard[session]
        if transfer.handed_over:
            self._attempts.unknown(message, error.failure.message)
        elif not transfer.heard and quiet > _STALE_SECONDS:
            self._attempts.put_back([message])
            raise _Again from None
        else:
            self._attempts.cut(message, error.failure.message)

    async def _pieces(self, message: Claimed) -> AsyncIterator[bytes]:
        yield message.first
        for part in range(1, message.parts):
            yield await self._attempts.piece(message, part)

    # help

    def _get_help(self) -> None:
        """Have another session send too, where the queue is long."""
        loop = asyncio.get_running_loop()
        room = len(self._helpers) + 1 < self._settings.sessions
        if room and loop.time() >= self._no_help_before:
            helper = asyncio.create_task(self._help())
            self._helpers.add(helper)
            helper.add_done_callback(self._helpers.discard)

    async def _help(self) -> None:
        """A server that takes no more sessions from us is left alone for a while."""
        try:
            async with self._held.another() as session:
                assert isinstance(session, SmtpSession)  # noqa: S101 - as above
                self._hears(session)
                lot, _ = await self._claim_due()
                try:
                    await self._send_all(session, lot)
                finally:
                    del self._heard[session]
        except (SessionError, _Again):
            self._no_help_before = asyncio.get_running_loop().time() + _NO_HELP_SECONDS
        except Exception as error:  # noqa: BLE001 - the first session goes on without it
            logger.error("a helping session ended: %s", type(error).__name__)  # noqa: TRY400


def _envelope(message: Claimed) -> Envelope:
    return Envelope(message.sender, message.addresses, message.waiting.size, message.utf8)


def _soon(lot: deque[Claimed]) -> Envelope | None:
    """The envelope of the next message, unless that one asks for special care."""
    if not lot or lot[0].utf8 or lot[0].waiting.attempts:
        return None
    return _envelope(lot[0])
