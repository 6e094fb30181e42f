"""What gateways with the same user and password on one host share.

Refused logins are counted in the database; here is what keeps gateways from using them up at the
same moment, and from asking for more sessions than the server grants to one user.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from weakref import WeakValueDictionary

from reconciler.model import Failure
from reconciler.service.refusals import MAX_REFUSALS
from reconciler.service.supervisor.backoff import BackOff
from reconciler.service.supervisor.facts import Waiting


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a login is not to be tried before `until`, a moment of the loop's clock."""

    waiting: Waiting
    until: float
    failure: Failure


class Account:
    """One user and password on one host. `worked` says that the server accepted it.

    `refused` is how often it was refused of late, of which `uncounted` could not be stored;
    `sessions` is how many are open with it, and `good` the gateways that it was last accepted for.
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_changed",
        "_limit",
        "_refusal",
        "_refused_at",
        "_under_way",
        "credential",
        "good",
        "refused",
        "sessions",
        "tenant",
        "uncounted",
        "worked",
    )

    def __init__(self, tenant: str = "", credential: str = "") -> None:
        self.tenant = tenant
        self.credential = credential
        self.worked = False
        self.refused = 0
        self.sessions = 0
        self._under_way = 0
        self.uncounted = 0
        self.good: tuple[str, ...] = ()
        self._refused_at = -inf
        self._refusal: Hold | None = None
        self._limit: tuple[int, Hold] | None = None
        self._busy = BackOff()
        self._changed: asyncio.Event | None = None

    def may_try(self, gateway: str, asked_at: float) -> bool:
        """Whether it was not refused too often, all gateways together.

        Where it works for another gateway, a refusal is hardly about user and password: then the
        last attempt is kept for that one, unless a person asks for it.
        """
        elsewhere = any(one != gateway for one in self.good)
        kept = 1 if elsewhere and asked_at <= self._refused_at else 0
        return self.refused < MAX_REFUSALS - kept

    def hold(self, asked_at: float) -> Hold | None:
        """Why it is not to be tried now, unless a person asked for it since."""
        now = asyncio.get_running_loop().time()
        if self._refusal and now < self._refusal.until and asked_at <= self._refused_at:
            return self._refusal
        if self._limit:
            most, hold = self._limit
            if now < hold.until and self.sessions >= most:
                return hold
        return None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Log in one after the other; a login that worked, as many at once as may be refused."""
        while self._under_way >= self._at_once:
            await self._change()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._tell()

    @property
    def _at_once(self) -> int:
        return max(1, MAX_REFUSALS - self.refused) if self.worked and not self._limit else 1

    def accept(self, gateway: str) -> None:
        self.works(gateway)
        self.lift()
        self._busy.reset()
        if self._limit and self.sessions >= self._limit[0]:
            self._limit = None

    def works(self, gateway: str) -> None:
        self.worked = True
        if gateway not in self.good:
            self.good += (gateway,)

    def left(self, gateway: str) -> None:
        """It no longer works for this gateway, or is no longer its."""
        self.good = tuple(one for one in self.good if one != gateway)

    def refuse(self, gateway: str, failure: Failure, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self.refused += 1
        self.left(gateway)
        self._refused_at = now
        self._refusal = Hold(Waiting.REFUSED, now + seconds, failure)

    def recall(self, gateway: str, refused: int, failure: Failure | None, seconds: float) -> None:
        """What the database says of it; the refusal of an earlier process is left alone too."""
        refused += self.uncounted
        if failure and refused and self._refused_at == -inf:
            self.refuse(gateway, failure, seconds)
        self.refused = refused

    def full(self, failure: Failure) -> None:
        """The server takes no more sessions of this user than there are."""
        if self.sessions:
            until = asyncio.get_running_loop().time() + self._busy.next()
            self._limit = (self.sessions, Hold(Waiting.LIMIT, until, failure))

    def lift(self) -> None:
        """Forget the refusals: the login was accepted, or the server was at fault."""
        self.refused = self.uncounted = 0
        self._refusal = None
        self._tell()

    def begin(self) -> None:
        """A session was opened with it."""
        self.sessions += 1

    def end(self) -> None:
        self.sessions -= 1
        self._tell()

    async def changes_within(self, seconds: float | None) -> None:
        """Until a login is accepted or a session ends, or so many seconds have passed."""
        try:
            async with asyncio.timeout(seconds):
                await self._change()
        except TimeoutError:
            pass

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        await self._changed.wait()

    def _tell(self) -> None:
        changed, self._changed = self._changed, None
        if changed:
            changed.set()


class Accounts:
    """Every login of this process's gateways, for as long as one of them has it."""

    def __init__(self) -> None:
        self._accounts: WeakValueDictionary[tuple[str, str], Account] = WeakValueDictionary()

    def of(self, tenant: str, credential: str) -> Account:
        account = self._accounts.get((tenant, credential))
        if account is None:
            account = Account(tenant, credential)
            self._accounts[tenant, credential] = account
        return account
