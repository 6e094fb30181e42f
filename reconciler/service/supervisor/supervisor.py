"""Keeps the session of every gateway that was given to this process."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from math import isfinite
from typing import Final

from reconciler.clock import stamp
from reconciler.errors import GatewaysError, NotThere
from reconciler.model import ActualGateway, ProtocolType, StatusState
from reconciler.service import contact
from reconciler.service.feed import About, Changed
from reconciler.service.service import Service
from reconciler.service.sessions import session_for
from reconciler.service.supervisor.assignment import Assigned, Assignment, Everything
from reconciler.service.supervisor.door import Door, Sessions
from reconciler.service.supervisor.facts import Counts, Facts, Waiting
from reconciler.service.supervisor.keeper import Ground, Keeper
from reconciler.service.supervisor.ledger import Key, Ledger
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.work import KEEP_ONLY, Work

_LOG: Final = logging.getLogger("gateways.supervisor")


class Supervisor:
    """Runs from `run` until that is cancelled; then every session has been closed."""

    def __init__(
        self,
        service: Service,
        works: Mapping[ProtocolType, Work] = KEEP_ONLY,
        settings: SupervisorSettings | None = None,
        *,
        assignment: Assignment | None = None,
        sessions: Sessions = session_for,
    ) -> None:
        settings = settings or SupervisorSettings()
        ledger = Ledger(service)
        door = Door(ledger, settings, service.settings.sessions, sessions)
        self._service = service
        self._settings = settings
        self._ledger = ledger
        self._ground = Ground(service, ledger, door, works, settings)
        self._assignment = assignment or Everything(ledger)
        self._keepers: dict[Key, Keeper] = {}
        self._sealed = True

    async def run(self) -> None:
        """Keep sessions until cancelled; at the end all are closed, in a bounded time.

        Raises:
            PlatformUnavailable: the database failed, or another process took the gateways over.

        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._listen())
                group.create_task(self._watch())
        except ExceptionGroup as all_of_them:
            raise all_of_them.exceptions[0] from None
        finally:
            await self._end()

    async def settled(self, tenant: str, name: str, *, seconds: float) -> ActualGateway:
        """Wait until the gateway is no longer connecting, `seconds` at most; then as it is.

        Where it still is then, the status says so, and nothing of that is stored.

        Raises:
            NotThere: there is no such gateway.

        """
        key = Key(tenant, name)
        with self._service.feed.listen(About.STATUS, About.GATEWAY) as listener:
            actual = await self._read(key)
            try:
                async with asyncio.timeout(seconds):
                    while actual.status.state is StatusState.CONNECTING:
                        if _key(await listener.next()) == key:
                            actual = await self._read(key)
            except TimeoutError:
                failure = contact.timed_out(seconds)
                now = stamp(self._service.clock())
                return replace(actual, status=contact.found(actual.status, failure, now))
            return actual

    def facts(self, tenant: str, name: str) -> Facts | None:
        """What is known of a gateway's session now; None for one that is not this process's."""
        keeper = self._keepers.get(Key(tenant, name))
        if keeper is None:
            return None
        disconnected = keeper.actual.status.state is StatusState.DISCONNECTED
        waiting = None if disconnected or keeper.held else keeper.pause.waiting
        if self._sealed and not disconnected:
            waiting = Waiting.SEALED
        at, until = None, keeper.pause.until
        if waiting and isfinite(until):
            seconds = max(0.0, until - asyncio.get_running_loop().time())
            at = self._service.clock() + timedelta(seconds=seconds)
        return Facts(
            keeper.open_since, keeper.certificate_expires, keeper.reconnects, at, waiting
        )

    def counts(self) -> Counts:
        """Sessions, reconnects and failures of this process."""
        keepers = self._keepers.values()
        turns = (Waiting.TURN, Waiting.HOST)
        return Counts(
            Counter(
                (one.actual.gateway.protocol_type, one.actual.status.state) for one in keepers
            ),
            sum(one.reconnects for one in keepers),
            dict(self._ground.failures),
            sum(one.held is None and one.pause.waiting in turns for one in keepers),
        )

    async def _follow(self) -> None:
        """Take and give up gateways as they are assigned."""
        async for assigned in self._assignment.changes():
            if assigned.ours:
                await self._take(key for key in assigned.keys if key not in self._keepers)
            else:
                for key in assigned.keys:
                    self._give_up(key)
