"""Keeps one gateway's session: opens it, gives it to its work, and opens it again."""

import asyncio
import logging
import traceback
from contextlib import suppress
from datetime import datetime
from math import inf
from typing import Final

from reconciler.errors import PlatformUnavailable
from reconciler.model import ActualGateway, Failure, FailureKind, ProtocolType, StatusState
from reconciler.service import contact
from reconciler.service.faults import Unsound
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.base import MailSession
from reconciler.service.supervisor.backoff import BackOff
from reconciler.service.supervisor.breaker import NotAnswering, Stale
from reconciler.service.supervisor.door import Refrained
from reconciler.service.supervisor.facts import Waiting
from reconciler.service.supervisor.ground import Ground
from reconciler.service.supervisor.ledger import Key, Moved, lost, same_connection
from reconciler.service.supervisor.more import More
from reconciler.service.supervisor.opening import Wish
from reconciler.service.supervisor.pause import Pause
from reconciler.service.supervisor.standing import Standing
from reconciler.service.work import Held, Soon

PATIENCE: Final = 3
"""So often in a row a server may be busy before the status says so: most are free again at once."""

_LOOK_AGAIN_SECONDS: Final = 600.0


class Keeper:
    """One gateway for as long as it is this process's; at most one session at a time.

    It has a life for as long as a session is wanted: a task that ends with the connection's fields.
    """

    __slots__ = (
        "_asked_at",
        "_back_off",
        "_busy",
        "_closing",
        "_ground",
        "_known",
        "_life",
        "_more",
        "_wish",
        "certificate_expires",
        "held",
        "open_since",
        "pause",
        "reconnects",
        "standing",
    )

    def __init__(self, ground: Ground, key: Key, actual: ActualGateway) -> None:
        self.standing = Standing(ground.ledger, key, actual)
        self.held: Held | None = None
        self.pause = Pause()
        self.open_since: datetime | None = None
        self.certificate_expires: datetime | None = None
        self.reconnects = 0
        self._ground = ground
        self._back_off = BackOff()
        self._asked_at = -inf
        self._known: Failure | None = None
        self._busy = 0
        self._more = More(ground, self.standing)
        self._wish: Wish | None = None
        self._life: asyncio.Task[None] | None = None
        self._closing: tuple[asyncio.Task[None], ...] = ()

    @property
    def actual(self) -> ActualGateway:
        return self.standing.actual

    @property
    def key(self) -> Key:
        return self.standing.key

    # what the supervisor calls

    def start(self) -> None:
        """Begin a life; its session is opened once the one before has ended."""
        if self.actual.status.state is not StatusState.DISCONNECTED:
            self._life = asyncio.create_task(self._live(self.closing))

    def changed(self, actual: ActualGateway) -> None:
        """The gateway was written: end the session, make it anew, or tell its work."""
        before = self.actual
        if actual.revision == before.revision:
            return  # it was read already
        self.standing.actual = actual
        connecting = actual.status.state is StatusState.CONNECTING
        if actual.status.state is StatusState.DISCONNECTED:
            self.stop()
            if self._wish:
                self._wish.account.left(self.key.gateway)
            self._wish = None
        elif connecting or not same_connection(before, actual):
            self.stop()
            self._begin_anew()
            self.start()
        elif self.held:
            self.held.actual = actual
            self.held.wake.set()

    def _begin_anew(self) -> None:
        """A person asked for a connection: what was learnt in earlier attempts does not count."""
        self._asked_at = asyncio.get_running_loop().time()
        self._back_off.reset()
        self._known, self._busy = None, 0

    def wake(self) -> None:
        """There may be something to do."""
        if self.held:
            self.held.wake.set()
        elif self.pause.waiting is Waiting.CLOSED:
            self.pause.end()

    def stop(self) -> None:
        """End the life; what it holds is closed in order if the server lets us."""
        life, self._life = self._life, None
        if life is None or life.done():
            return
        self._closing = (*self.closing, life)
        life.cancel()

    @property
    def closing(self) -> tuple[asyncio.Task[None], ...]:
        """Lives that are about to end."""
        self._closing = tuple(life for life in self._closing if not life.done())
        return self._closing

    # the life

    async def _live(self, earlier: tuple[asyncio.Task[None], ...]) -> None:
        if earlier:
            await asyncio.wait(earlier)
        while True:
            try:
                await self._keep()
            except Unsound:
                return  # nothing can be stored any more: the whole process ends
            except PlatformUnavailable as error:
                self.standing.log(logging.ERROR, "the database: %s", error.message)
            except Exception as error:  # noqa: BLE001 - a bug in one work is not the end of all
                await self._stumble(error)
            else:
                return
            await self._back_off_for(Waiting.BACK_OFF)

    async def _keep(self) -> None:
        """Have a session for as long as the gateway is not disconnected."""
        while login := await self._ground.ledger.login(self.key):
            with suppress(Moved, Stale):  # what was so when it began is no longer so
                await self._round(login)

    async def _round(self, login: contact.Login) -> None:
        """One attempt at a session, and what comes of it."""
        before, self.standing.actual = self.actual, login.actual
        if before.revision != self.actual.revision:
            self._begin_anew()  # it was read here before `changed` told of it
        door = self._ground.door
        wish = door.wish(self.key, login, self.pause.begin, self._known, self._asked_at)
        self._wish = wish
        try:
            session = await door.open(wish)
        except NotAnswering as none:
            self._known = none.failure
            # of a server that does not answer one line in the log is enough
            level = logging.WARNING if none.tried else logging.DEBUG
            await self._failed(none.failure, tried=none.tried, level=level)
        except Refrained as not_now:
            await self._refrain(not_now)
        except SessionError as error:
            await self._failed(error.failure, tried=True)
            if not wish.account.hold(-inf):  # which may end sooner, or much later
                await self._back_off_for(Waiting.BACK_OFF)
        else:
            try:
                ended = await self._hold(session)
            finally:
                await door.close(wish, session)
            await self._ended(ended)

    async def _hold(self, session: MailSession) -> float | Soon | SessionError:
        """Work until the session ends: how long until the next one, or why it was lost."""
        loop, service = asyncio.get_running_loop(), self._ground.service
        opened_at = loop.time()
        held = Held(service, self.key.tenant, self.actual, session, self._more.another)
        self.held, self._known, self._busy, self._asked_at = held, None, 0, -inf
        self.open_since = service.clock()
        self.certificate_expires = session.wire.certificate_expires
        self.pause.over()
        try:
            await self.standing.show(lambda before, now: contact.found(before, None, now))
            held.actual = self.actual
            self.standing.log(logging.INFO, "session opened")
            return await self._ground.works[self.actual.gateway.protocol_type](held)
        except SessionError as error:
            return error
        finally:
            self.held = self.open_since = None
            if loop.time() - opened_at >= self._ground.settings.stable:
                self._back_off.reset()

    async def _ended(self, ended: float | Soon | SessionError) -> None:
        if isinstance(ended, SessionError):
            failure = ended.failure
            self.reconnects += 1
            if self._is_idle_end(failure):
                self.standing.log(logging.INFO, "session closed: %s", failure.message)
                await self._back_off_for(Waiting.CLOSED)
            else:
                self._ground.failures[failure.kind] += 1
                self.standing.log(logging.WARNING, "session lost: %s", failure.message)
                await self.standing.show(lost)
                await self._back_off_for(Waiting.BACK_OFF)
        elif isinstance(ended, Soon):
            await self.pause.last(min(self._back_off.next(), ended.most), Waiting.PLANNED)
        else:
            self._back_off.reset()
            await self.pause.last(ended, Waiting.PLANNED)

    def _is_idle_end(self, failure: Failure) -> bool:
        """SMTP servers close sessions that have nothing to do: the next is opened in good time."""
        smtp = self.actual.gateway.protocol_type is ProtocolType.SMTP
        return smtp and failure.kind in (FailureKind.TCP, FailureKind.BUSY)

    async def _failed(self, failure: Failure, *, tried: bool, level: int = logging.WARNING) -> None:
        self._asked_at = -inf
        if tried:
            self._ground.failures[failure.kind] += 1
            self._busy = self._busy + 1 if failure.kind is FailureKind.BUSY else 0
            if 0 < self._busy < PATIENCE:
                return
        before = self.actual.status
        await self.standing.show(lambda status, now: contact.found(status, failure, now))
        if before.failure != failure:
            self.standing.log(level, "not connected: %s", failure.message)

    async def _refrain(self, not_now: Refrained) -> None:
        hold, loop = not_now.hold, asyncio.get_running_loop()
        await self._failed(hold.failure, tried=False)
        self.pause.begin(hold.waiting, until=hold.until)
        seconds = min(hold.until - loop.time(), _LOOK_AGAIN_SECONDS)
        await not_now.account.changes_within(seconds)

    async def _back_off_for(self, waiting: Waiting) -> None:
        await self.pause.last(self._back_off.next(), waiting)

    async def _stumble(self, error: Exception) -> None:
        """Nothing is said of what the error says: it may quote mail, or a password."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} in {frame.name}, line {frame.lineno} of {frame.filename}"
        self.standing.log(logging.ERROR, "a fault of this program: %s", what)
        failure = Failure(
            FailureKind.PROTOCOL,
            None,
            f"a fault of this program: {type(error).__name__} in {frame.name}",
            "please report it with the service's log; it is tried again",
        )
        with suppress(Moved, Unsound):  # both are heard of again at once
            await self._failed(failure, tried=True)
