"""One attempt to open a session, and what it teaches about the server and the login."""

import asyncio
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from reconciler.model import Failure, FailureKind
from reconciler.service.contact import Login
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.base import MailSession, Phase
from reconciler.service.supervisor.accounts import Account
from reconciler.service.supervisor.breaker import Breaker, NotAnswering, Permit
from reconciler.service.supervisor.facts import Waiting
from reconciler.service.supervisor.hosts import Endpoint
from reconciler.service.supervisor.ledger import Key, Ledger

_PATIENCE_SECONDS: Final = 5.0
_REACHING: Final = (Phase.TCP, Phase.TLS, Phase.CAPABILITIES)


class Waits(Protocol):
    """Hears what a session is waited for, and who knows more about it."""

    def __call__(self, waiting: Waiting, breaker: Breaker | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """A session that is wanted. `known` is a failure of the host that was told already.

    `asked_at` is when a person asked for it, a moment of the loop's clock. What is known of host
    and login lasts for as long as somebody has a wish: keep it until there is another.
    """

    key: Key
    login: Login
    endpoint: Endpoint
    account: Account
    waits: Waits
    known: Failure | None = None
    asked_at: float = -inf

    @property
    def asked(self) -> bool:
        return self.asked_at > -inf


@dataclass(slots=True)
class Opening:
    """Carries out a wish. `slowly` is how long a refused login is left alone, in seconds.

    `answer` and `trust` are permits of the server's two breakers; without a login there is nothing
    to trust. `counted` is how many refusals there are if this is another: 0 where it was not
    counted beforehand. `given_up` says that nobody wants the session any more.
    """

    ledger: Ledger
    wish: Wish
    trust: Permit | None
    answer: Permit
    slowly: float
    counted: int = 0
    given_up: bool = False

    @property
    def endpoint(self) -> Endpoint:
        return self.wish.endpoint

    @property
    def account(self) -> Account:
        return self.wish.account

    async def run(self, session: MailSession) -> None:
        """Carry it out; closing the session is left to the caller.

        Raises:
            NotAnswering: it is not the gateway's fault, but the server's.
            Stale: the server has failed while this one waited for its turn.
            SessionError: the session could not be opened.

        """
        try:
            await self._attempt(session)
        except Exception as error:
            if self.given_up:
                raise asyncio.CancelledError from error
            raise
        if self.given_up:
            raise asyncio.CancelledError

    async def _attempt(self, session: MailSession) -> None:
        if self.account.worked:
            self.endpoint.works(self.account)
        await self._count_beforehand()
        try:
            await self._open(session)
        except SessionError as error:
            if error.failure.kind is FailureKind.AUTH and self.trust:
                await self._refused(error.failure, self.trust)
            else:
                await self._take_back()
            if not self.answer.told:
                self._unanswered(error)
            elif error.failure.kind is FailureKind.BUSY:
                self.account.full(error.failure)
            raise
        except BaseException:
            if not self.answer.told:  # it cannot have come to a login
                await self._take_back()
            raise
        await self._accepted()

    async def _open(self, session: MailSession) -> None:
        self.wish.waits(Waiting.TURN)
        await session.enter(Phase.DNS)
        await self.endpoint.host.pace.turn()
        self.wish.waits(Waiting.ANSWER)
        for permit in (self.answer, self.trust):
            if permit:
                permit.check()
        async with session.overall():
            for phase in _REACHING:
                await session.enter(phase)
            self.answer.answered()
            await self._log_in(session)

    async def _log_in(self, session: MailSession) -> None:
        """To its end, whoever gives up meanwhile: what becomes of a login has to be counted."""
        login = asyncio.create_task(session.enter(Phase.LOGIN))
        try:
            await asyncio.shield(login)
        except asyncio.CancelledError:
            self.given_up = True
            await asyncio.wait([login], timeout=_PATIENCE_SECONDS)
            if not login.done():
                login.cancel()
                await asyncio.wait([login])
            await login

    def _unanswered(self, error: SessionError) -> None:
        """Tell what is the server's fault, for all, from what is only this gateway's."""
        failure = error.failure
        if failure.field and (error.transient or failure.kind is FailureKind.DNS):
            self.answer.failed(failure)
            raise NotAnswering(failure, tried=True) from error
        if failure.kind not in (FailureKind.TCP, FailureKind.BUSY):
            self.answer.answered()

    async def _count_beforehand(self) -> None:
        """A refusal of a login that did not work before is counted before it can happen.

        So not even processes that are killed at the worst moment, again and again, make one too
        many.
        """
        key, credential = self.wish.key, self.wish.login.credential
        if not credential or (self.account.worked and not self.account.refused):
            return
        try:
            self.counted = await self.ledger.count_refusal(key, credential)
        except asyncio.CancelledError:  # it is counted all the same, and there was no attempt
            await self.ledger.take_back_refusal(key, credential)
            raise

    async def _take_back(self) -> None:
        credential = self.wish.login.credential
        if credential and self.counted:
            await self.ledger.take_back_refusal(self.wish.key, credential)

    async def _refused(self, failure: Failure, trust: Permit) -> None:
        """Count it, unless it is the server that is at fault."""
        at_fault = _at_fault(failure)
        lifted = self.endpoint.refused(self.account, at_fault) if self.account.worked else []
        if self.account.worked and self.endpoint.logins.failure:
            trust.failed(at_fault)
            await self._take_back()
            for account in lifted:
                await self.ledger.forget_refusals(account.tenant, account.credential)
                account.lift()
            raise NotAnswering(at_fault, tried=True)
        account = self.account
        account.refuse(self.wish.key.gateway, failure, self.slowly)
        if not self.counted:
            account.uncounted += 1
            self.counted = await self.ledger.count_refusal(self.wish.key, account.credential)
            account.uncounted -= 1
        account.refused = self.counted

    async def _accepted(self) -> None:
        account = self.account
        if not self.trust:
            return
        if account.refused or self.counted:
            await self.ledger.forget_refusals(account.tenant, account.credential)
        account.accept(self.wish.key.gateway)
        self.endpoint.accepted(account)
        self.trust.answered()


def _at_fault(failure: Failure) -> Failure:
    return Failure(
        FailureKind.AUTH,
        "host",
        f"{failure.message}; it refuses many logins that it accepted before",
        "the mail server seems to be at fault, so one gateway tries for all of them, slowly",
    )
