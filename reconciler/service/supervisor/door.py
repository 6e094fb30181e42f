"""Opening sessions: in turn, at the pace of the host, and not where it would do harm."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from math import inf

from reconciler.model import Gateway, Secret, StatusState
from reconciler.service import contact
from reconciler.service.sessions import SessionSettings
from reconciler.service.sessions.base import MailSession
from reconciler.service.supervisor.accounts import Account, Accounts, Hold
from reconciler.service.supervisor.breaker import Permit
from reconciler.service.supervisor.facts import Waiting
from reconciler.service.supervisor.hosts import Endpoint, Hosts
from reconciler.service.supervisor.ledger import Ledger
from reconciler.service.supervisor.opening import Opening, Wish
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

    @asynccontextmanager
    async def opened(self, wish: Wish) -> AsyncIterator[MailSession]:
        """A session that is open; it is closed at the end.

        Raises:
            NotAnswering: the server does not answer another gateway; this one has not tried.
            Refrained: the login is not tried now.
            SessionError: it could not be opened.

        """
        login, account = wish.login, self._account(wish)
        session = self._sessions(login.actual.gateway, login.password, self._session_settings)
        try:
            await self._open(wish, account, session)
            with account.session():
                yield session
        finally:
            await session.close()

    def _account(self, wish: Wish) -> Account:
        login = wish.login
        if login.credential is None:
            return Account()
        account = self._accounts.of(wish.key.tenant, login.credential)
        account.refused = max(account.refused, login.refused)
        # a status says so only until user or password changes
        account.worked |= login.actual.status.state is StatusState.SUCCEEDED
        return account

    async def _open(self, wish: Wish, account: Account, session: MailSession) -> None:
        endpoint = self._hosts.endpoint(wish.login.actual.gateway)
        _check(wish, account)
        async with (
            self._trusted(wish, endpoint) as trust,
            self._answering(wish, endpoint) as answer,
            account.turn(),
        ):
            _check(wish, account)
            slowly = self._settings.refused * random.uniform(1, 2)  # noqa: S311 - spreads load
            opening = Opening(self._ledger, wish, endpoint, account, trust, answer, slowly)
            await opening.run(session)

    def _trusted(
        self, wish: Wish, endpoint: Endpoint
    ) -> AbstractAsyncContextManager[Permit | None]:
        if wish.login.credential is None:
            return nullcontext()
        wish.waits(Waiting.TURN, endpoint.logins)
        return endpoint.logins.attempt(wish.known, asked=wish.asked)

    def _answering(self, wish: Wish, endpoint: Endpoint) -> AbstractAsyncContextManager[Permit]:
        wish.waits(Waiting.TURN, endpoint.answers)
        return endpoint.answers.attempt(wish.known, asked=wish.asked)


def _check(wish: Wish, account: Account) -> None:
    """Raises Refrained."""
    login, name = wish.login, wish.key.gateway
    if login.credential is None:
        if login.instead:
            raise Refrained(Hold(Waiting.PARKED, inf, login.instead), account)
    elif not account.may_try(wish.asked_at):
        failure = contact.parked(name, account.refused)
        raise Refrained(Hold(Waiting.PARKED, inf, failure), account)
    hold = account.hold(wish.asked_at)
    if hold:
        raise Refrained(hold, account)
