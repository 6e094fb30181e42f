"""Keeps the session of every gateway that was given to this process."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from math import isfinite
from typing import Final

from reconciler.clock import stamp
from reconciler.errors import NotThere, PlatformUnavailable
from reconciler.model import ActualGateway, ProtocolType, StatusState
from reconciler.service import contact
from reconciler.service.faults import Unsound
from reconciler.service.feed import About, Changed, Listener
from reconciler.service.service import Service
from reconciler.service.sessions import session_for
from reconciler.service.sessions.resolver import Resolver
from reconciler.service.supervisor.assignment import Assigned, Assignment, Everything
from reconciler.service.supervisor.door import Door, Sessions
from reconciler.service.supervisor.facts import Counts, Facts, Waiting
from reconciler.service.supervisor.ground import Ground
from reconciler.service.supervisor.keeper import Keeper
from reconciler.service.supervisor.ledger import Key, Ledger
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.work import KEEP_ONLY, Work

_LOG: Final = logging.getLogger("gateways.supervisor")
_PAUSE_SECONDS: Final = 1.0
_AT_ONCE: Final = 500  # between so many others may ask the database too


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
        session_settings = service.settings.sessions
        if session_settings.resolve is None:
            session_settings = replace(session_settings, resolve=Resolver().resolve)
        door = Door(ledger, settings, session_settings, sessions)
        self.running = False
        self._service = service
        self._settings = settings
        self._ledger = ledger
        self._ground = Ground(service, ledger, door, works, settings)
        self._assignment = assignment or Everything(ledger)
        self._keepers: dict[Key, Keeper] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Lock()
        self._sealed = True

    async def run(self) -> None:
        """Keep sessions until cancelled; at the end all are closed, in a bounded time.

        Raises:
            PlatformUnavailable: the database failed, or another process took the gateways over.

        """
        self.running = True
        try:
            with self._service.feed.listen(About.GATEWAY, About.OUTBOX) as listener:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._follow())
                    group.create_task(self._listen(listener))
                    group.create_task(self._watch())
        except ExceptionGroup as all_of_them:
            raise all_of_them.exceptions[0] from None
        finally:
            self.running = False
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
        return Facts(keeper.open_since, keeper.certificate_expires, keeper.reconnects, at, waiting)

    def counts(self) -> Counts:
        """Sessions, reconnects and failures of this process."""
        keepers = self._keepers.values()
        turns = (Waiting.TURN, Waiting.HOST, Waiting.ANSWER)
        return Counts(
            Counter((one.actual.gateway.protocol_type, one.actual.status.state) for one in keepers),
            sum(one.reconnects for one in keepers),
            dict(self._ground.failures),
            sum(one.held is None and one.pause.waiting in turns for one in keepers),
            [one.certificate_expires for one in keepers if one.certificate_expires],
        )

    async def _follow(self) -> None:
        """Take and give up gateways as they are assigned."""
        while True:
            try:
                await self._unseal()
                async for assigned in self._assignment.changes():
                    await self._assign(assigned)
            except Unsound:
                raise
            except PlatformUnavailable as error:
                _LOG.warning("the database: %s", error.message)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def _assign(self, assigned: Assigned) -> None:
        if assigned.ours:
            await self._read_again(assigned.keys, taken=True)
        else:
            for key in assigned.keys:
                self._give_up(key)

    async def _listen(self, listener: Listener) -> None:
        """Hear of writes to gateways, and of messages to be sent."""
        while True:
            changes = (await listener.next(), *listener.rest())
            written = [_key(one) for one in changes if one.about is About.GATEWAY]
            if written:
                await self._read_again(written)
            for one in changes:
                keeper = self._keepers.get(_key(one))
                if keeper and one.about is About.OUTBOX:
                    keeper.wake()

    async def _watch(self) -> None:
        """Look from time to time whether this process may go on, and mend what it can."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.watch):
                    await self._service.fatal.wait()
            try:
                await self._ledger.check()
                await self._unseal()
                for keeper in list(self._keepers.values()):
                    await keeper.standing.save()
            except Unsound:
                raise
            except PlatformUnavailable as error:
                _LOG.warning("the database: %s", error.message)

    async def _unseal(self) -> None:
        """Begin once passwords can be opened; without their key no connection is made at all."""
        if not self._sealed:
            return
        why = await self._ledger.sealed()
        if why:
            _LOG.error("no connection is made: %s", why)
            return
        self._sealed = False
        for keeper in self._keepers.values():
            keeper.start()

    async def _read_again(self, keys: Sequence[Key], *, taken: bool = False) -> None:
        """Read gateways, and act on what they are now; `taken` are those not known so far."""
        for start in range(0, len(keys), _AT_ONCE):
            await self._read_some(keys[start : start + _AT_ONCE], taken=taken)

    async def _read_some(self, keys: Sequence[Key], *, taken: bool) -> None:
        """One reading at a time, so that none acts on an earlier row than the one before it."""
        async with self._reading:
            chosen = [key for key in keys if (key in self._keepers) is not taken]
            if not chosen:
                return
            for key, actual in await self._rows(chosen):
                keeper = self._keepers.get(key)
                if actual is None:
                    self._give_up(key)
                elif keeper:
                    keeper.changed(actual)
                else:
                    self._take(key, actual)

    async def _rows(self, keys: Sequence[Key]) -> list[tuple[Key, ActualGateway | None]]:
        while True:
            try:
                return await self._ledger.read(keys)
            except Unsound:
                raise
            except PlatformUnavailable as error:
                _LOG.warning("the database: %s", error.message)
                await asyncio.sleep(_PAUSE_SECONDS)

    def _take(self, key: Key, actual: ActualGateway) -> None:
        keeper = self._keepers[key] = Keeper(self._ground, key, actual)
        if not self._sealed:
            keeper.start()

    def _give_up(self, key: Key) -> None:
        keeper = self._keepers.pop(key, None)
        if keeper:
            keeper.stop()
            for life in keeper.closing:
                self._leaving.add(life)
                life.add_done_callback(self._leaving.discard)

    async def _end(self) -> None:
        """Close every session; a server that does not let us is left after a while."""
        for key in list(self._keepers):
            self._give_up(key)
        if self._leaving:
            _, late = await asyncio.wait(set(self._leaving), timeout=self._settings.end)
            if late:
                _LOG.warning("%d sessions were cut off", len(late))

    async def _read(self, key: Key) -> ActualGateway:
        ((_, actual),) = await self._ledger.read([key])
        if actual is None:
            raise NotThere(f"gateway {key.gateway!r} is not on the platform", "make a new plan")
        return actual


def _key(changed: Changed) -> Key:
    return Key(changed.tenant, changed.gateway)
