"""Opening sessions: in turn, at the pace of the host, and not where it would do harm."""

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from math import inf

from reconciler.model import Failure, FailureKind, Gateway, Secret, StatusState
from reconciler.service import contact
from reconciler.service.contact import Login
from reconciler.service.sessions import SessionSettings
from reconciler.service.sessions.base import MailSession
from reconciler.service.supervisor.accounts import Account, Accounts, Hold
from reconciler.service.supervisor.breaker import Permit
from reconciler.service.supervisor.facts import Waiting
from reconciler.service.supervisor.hosts import Hosts
from reconciler.service.supervisor.ledger import Key, Ledger
from reconciler.service.supervisor.opening import Opening, Waits, Wish
from reconciler.service.supervisor.settings import SupervisorSettings

Sessions = Callable[[Gateway, Secret | None, SessionSettings], MailSession]


class Refrained(Exception):
    """The login is not tried now; it may be once `account` changes, or the hold ends."""

    def __init__(self, hold: Hold, account: Account) -> None:
        super().__init__(hold.failure.message)
        self.hold = hold
        self.account = account


class Door:
    """The one way to a session, for all gateways of this process."""

    def __init__(
        self,
        ledger: Ledger,
        settings: SupervisorSettings,
        session_settings: SessionSettings,
        sessions: Sessions,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._session_settings = session_settings
        self._sessions = sessions
        self._hosts = Hosts(settings)
        self._accounts = Accounts()

    def wish(
        self,
        key: Key,
        login: Login,
        waits: Waits,
        known: Failure | None = None,
        asked_at: float = -inf,
    ) -> Wish:
        """A wish for a session, with what is known of its host and its login."""
        endpoint = self._hosts.endpoint(login.actual.gateway)
        return Wish(key, login, endpoint, self._account(key, login), waits, known, asked_at)

    def _account(self, key: Key, login: Login) -> Account:
        if login.credential is None:
            return Account()
        account = self._accounts.of(key.tenant, login.credential)
        # a status says this only until user or password changes
        status = login.actual.status
        if status.state is StatusState.SUCCEEDED:
            account.works(key.gateway)
        refusal = status.failure if is_refusal(status.failure) else None
        account.recall(key.gateway, login.refused, refusal, self._slowly())
        return account

    async def open(self, wish: Wish) -> MailSession:
        """A session that is open; `close` ends it.

        Raises:
            NotAnswering: the server does not answer.
            Stale: it stopped to answer meanwhile.
            Refrained: the login is not tried now.
            SessionError: it could not be opened.

        """
        login = wish.login
        settings = replace(self._session_settings, turn=wish.endpoint.host.pace.one_more)
        session = self._sessions(login.actual.gateway, login.password, settings)
        try:
            await self._open(wish, session)
        except BaseException:
            await session.close()
            raise
        wish.account.begin()
        return session

    async def close(self, wish: Wish, session: MailSession) -> None:
        """Say goodbye, and make room for another session of the user."""
        try:
            await session.close()
        finally:
            wish.account.end()

    async def _open(self, wish: Wish, session: MailSession) -> None:
        _check(wish)
        async with _trusted(wish) as trust, _answering(wish) as answer, wish.account.turn():
            _check(wish)
            await Opening(self._ledger, wish, trust, answer, self._slowly()).run(session)

    def _slowly(self) -> float:
        return self._settings.refused * random.uniform(1, 2)  # noqa: S311 - spreads load


def is_refusal(failure: Failure | None) -> bool:
    return failure is not None and failure.kind is FailureKind.AUTH


def _trusted(wish: Wish) -> AbstractAsyncContextManager[Permit | None]:
    if wish.login.credential is None:
        return nullcontext()
    wish.waits(Waiting.TURN, wish.endpoint.logins)
    return wish.endpoint.logins.attempt(wish.known, asked=wish.asked)


def _answering(wish: Wish) -> AbstractAsyncContextManager[Permit]:
    wish.waits(Waiting.TURN, wish.endpoint.answers)
    return wish.endpoint.answers.attempt(wish.known, asked=wish.asked)


def _check(wish: Wish) -> None:
    """Raises Refrained."""
    login, account = wish.login, wish.account
    if login.credential is None:
        if login.instead:
            raise Refrained(Hold(Waiting.PARKED, inf, login.instead), account)
    elif not account.may_try(wish.key.gateway, wish.asked_at):
        failure = contact.parked(wish.key.gateway, account.refused)
        raise Refrained(Hold(Waiting.PARKED, inf, failure), account)
    hold = account.hold(wish.asked_at)
    if hold:
        raise Refrained(hold, account)
