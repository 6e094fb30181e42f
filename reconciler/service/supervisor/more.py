"""Sessions of a gateway beside the one that is held: for a long queue."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reconciler.model import FailureKind
from reconciler.service.sessions.base import MailSession
from reconciler.service.sessions.failures import fail
from reconciler.service.supervisor.breaker import NotAnswering, Stale
from reconciler.service.supervisor.door import Refrained
from reconciler.service.supervisor.ground import Ground
from reconciler.service.supervisor.ledger import same_connection
from reconciler.service.supervisor.opening import Wish
from reconciler.service.supervisor.standing import Standing


class More:
    """One gateway's; they are opened through the same door, and nobody waits for one."""

    __slots__ = ("_count", "_ground", "_standing")

    def __init__(self, ground: Ground, standing: Standing) -> None:
        self._ground = ground
        self._standing = standing
        self._count = 0

    @asynccontextmanager
    async def another(self) -> AsyncIterator[MailSession]:
        """One more session. Raises SessionError where there is to be none."""
        login = await self._ground.ledger.login(self._standing.key)
        most = self._ground.settings.more_sessions
        same = login and same_connection(login.actual, self._standing.actual)
        if login is None or not same or self._count >= most:
            raise fail(FailureKind.BUSY, None, f"no more than {most} more sessions", transient=True)
        self._count += 1
        try:
            wish = self._ground.door.wish(self._standing.key, login, lambda *_: None)
            session = await self._open(wish)
            try:
                yield session
            finally:
                await self._ground.door.close(wish, session)
        finally:
            self._count -= 1

    async def _open(self, wish: Wish) -> MailSession:
        try:
            return await self._ground.door.open(wish)
        except (NotAnswering, Refrained, Stale) as none:
            raise fail(FailureKind.BUSY, None, str(none), transient=True) from None
