"""Sending what is queued for a gateway: the work of its session.

A message is claimed, on disk, before any of it goes out, and noted just before its end does. So
whatever happens to this process or the connection, it is known of every message whether it was
handed over; where it was and the answer is not known, it is never sent again by itself.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from reconciler.errors import PlatformUnavailable
from reconciler.service.mail.attempts import Attempts
from reconciler.service.mail.queue import Claimed
from reconciler.service.mail.supply import Supply
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.base import MailSession
from reconciler.service.sessions.sasl import server_busy
from reconciler.service.sessions.smtp import SmtpSession
from reconciler.service.sessions.transfer import Manner, Transfer
from reconciler.service.work import Held

logger = logging.getLogger("gateways.sending")

_QUIET_SECONDS: Final = 5.0
"""A session in which nothing was said for so long may have been closed by the server."""

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
        self._supply = Supply(self._attempts, lambda: len(self._heard), self._get_help)
        self._heard: dict[MailSession, float] = {}
        self._useful: set[MailSession] = set()
        self._helpers: set[asyncio.Task[None]] = set()
        self._no_help_before = 0.0
        self._ends = False

    async def run(self, *, once: bool = False) -> float:
        try:
            await self._attempts.settle_interrupted()
            return await self._keep_sending(self._held.session, once=once)
        except _Again as again:
            return again.seconds
        except PlatformUnavailable:
            if once:
                raise
            return _NO_DISK_SECONDS
        finally:
            self._ends = True
            for helper in self._helpers:
                helper.cancel()
            await self._helped()
            await self._supply.close()
            await self._attempts.finish()

    async def _keep_sending(self, session: MailSession, *, once: bool) -> float:
        assert isinstance(session, SmtpSession)  # noqa: S101 - it is the work of no other
        self._hears(session)
        quiet = 0
        while quiet < _QUIET_LIMIT:
            self._held.wake.clear()
            if await self._send_some(session, once=once):
                quiet = 0
            elif once:
                await self._helped()
                break
            elif await self._nothing_comes(session):
                quiet += 1
                await self._keep_alive(session)
        return 0.0

    async def _send_some(self, session: SmtpSession, *, once: bool) -> bool:
        """Send what is due; whether anything was. While the disk takes nothing, wait for it."""
        try:
            return await self._send_all(session)
        except PlatformUnavailable:
            if once or not session.wire.usable:
                raise
            await asyncio.sleep(_NO_DISK_SECONDS)
            return False

    async def _helped(self) -> None:
        if self._helpers:
            await asyncio.wait(self._helpers)

    async def _nothing_comes(self, session: MailSession) -> bool:
        """Wait until there may be something to send; True if the session needs a sign of life."""
        loop = asyncio.get_running_loop()
        alive = self._heard[session] + self._settings.keep_alive - loop.time()
        due = await self._attempts.next_due()
        wait = alive if due is None else min(due, alive)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, wait)):
                await self._held.wake.wait()
        return not self._held.wake.is_set() and wait == alive

    async def _keep_alive(self, session: MailSession) -> None:
        try:
            await session.keep_alive()
        except SessionError:
            raise _Again from None  # servers close quiet sessions, and that is no failure
        self._hears(session)

    def _hears(self, session: MailSession) -> None:
        self._heard[session] = asyncio.get_running_loop().time()

    # sending

    async def _send_all(self, session: SmtpSession) -> bool:
        """Send one message after the other until nothing is due; whether anything was."""
        message = first = await self._supply.take()
        while message:
            following = self._supply.reserve()
            try:
                await self._send(session, message, following)
            except BaseException:
                if following:
                    self._supply.give_back(following)
                raise
            message = following or await self._supply.take()
        return first is not None

    async def _send(
        self, session: SmtpSession, message: Claimed, following: Claimed | None
    ) -> None:
        handovers, attempts = self._service.handovers, self._attempts
        number, attempt = message.number, message.waiting.attempts
        manner = Manner(
            lambda: handovers.note(number, attempt),
            careful=attempt > 0,
            following=following.envelope if following else None,
            farewell=self._settings.farewell,
        )
        transfer = Transfer(session, message.envelope, manner)
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
        self._useful.add(session)
        attempts.answered(message, answers)
        if transfer.cancelled:
            session.wire.abort()  # the next message may be begun already
            raise asyncio.CancelledError
        if not session.wire.usable:
            raise server_busy(session.wire.where, answers[-1].text)

    def _failed(
        self, session: SmtpSession, message: Claimed, transfer: Transfer, error: SessionError
    ) -> None:
        """Say of a message what the loss of the session means for it.

        Many servers end a session that was quiet, or has sent so many messages: where that is the
        first word, it is none on this message.
        """
        quiet = asyncio.get_running_loop().time() - self._heard[session]
        if transfer.handed_over:
            self._attempts.unknown(message, error.failure.message)
        elif not transfer.heard and (quiet > _QUIET_SECONDS or session in self._useful):
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
        room = len(self._helpers) + 1 < self._settings.sessions and not self._ends
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
                try:
                    await self._send_all(session)
                finally:
                    del self._heard[session]
        except _Again:
            return
        except (SessionError, PlatformUnavailable):
            self._no_help_before = asyncio.get_running_loop().time() + _NO_HELP_SECONDS
        except Exception as error:  # noqa: BLE001 - the first session goes on without it
            logger.error("a helping session ended: %s", type(error).__name__)  # noqa: TRY400
