"""A console that has no API: people do what is planned, and a record in git holds what they said.

Nothing here connects to anything. What a gateway's status is, and that a step was done, is what
somebody said; nobody else can know.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler import transitions
from reconciler.clock import Clock, now, stamp
from reconciler.errors import AlreadyThere, Blocked, InvalidInput
from reconciler.model import (
    CONNECTION_SUCCEEDED,
    Action,
    Actor,
    ActualGateway,
    Cause,
    DesiredGateway,
    Failure,
    FailureKind,
    Gateway,
    Happening,
    Snapshot,
    State,
    Status,
    StatusState,
    Target,
    Tick,
)
from reconciler.platforms import HISTORY_KEPT, Platform, TickedWrite, Write
from reconciler.platforms.runbook_changes import (
    FieldChanges,
    changes_between,
    connects_anew,
    happening,
    kept,
)
from reconciler.platforms.runbook_lock import RecordLock
from reconciler.platforms.runbook_record import Record, RecordFile

_LONGEST: Final = 200
"""Characters that are kept of a status in the console's own words."""


def open_platform(target: Target, root: Path) -> Platform:
    """The platform of a runbook target; nothing is read or made before it is used."""
    if target.record is None:
        raise InvalidInput(f"{target.place}: target {target.name!r} has no record")
    return RunbookPlatform(root, target.record, target.owner)


class RunbookPlatform:
    """The gateways of one record, `record` in the folder `root`."""

    def __init__(self, root: Path, record: str, owner: str, *, clock: Clock = now) -> None:
        self.record = record
        self._file = RecordFile(root, record)
        self._lock = RecordLock(root, record, clock)
        self._owner = owner
        self._clock = clock

    async def read(self, *, refresh: bool = False) -> Snapshot:
        gateways = self._file.read().gateways
        ordered = tuple(gateways[name] for name in sorted(gateways))
        return Snapshot(ordered, supervised=True, told=True)

    async def history(self, names: Collection[str]) -> Mapping[str, tuple[Happening, ...]]:
        found: dict[str, list[Happening]] = {}
        for tick in self._file.read().ticks:
            if tick.changes is not None and tick.gateway in names:
                found.setdefault(tick.gateway, []).append(happening(tick, tick.changes))
        return {name: tuple(found[name][-HISTORY_KEPT:]) for name in sorted(found)}

    async def ticks(self) -> tuple[Tick, ...]:
        return self._file.read().ticks

    async def tick(self, tick: Tick) -> None:
        with self._lock.write():
            record = self._file.read()
            self._file.write(replace(record, ticks=(*record.ticks, tick)))

    async def create(self, desired: DesiredGateway, write: Write) -> ActualGateway:
        name = desired.gateway.name

        def made(before: ActualGateway | None) -> ActualGateway:
            if before:
                raise AlreadyThere(f"gateway {name!r} is in the record already", "make a new plan")
            return self._as_desired(desired, None, self._first(desired.gateway, write))

        return self._store(name, Action.CREATE, write, made)

    async def edit(
        self, desired: DesiredGateway, write: Write, *, reconnect: bool
    ) -> ActualGateway:
        def edited(before: ActualGateway | None) -> ActualGateway:
            actual = self._ours(desired.gateway.name, before, write)
            return self._edited(desired, actual, write, reconnect=reconnect)

        return self._store(desired.gateway.name, Action.EDIT, write, edited)

    async def rebuild(self, name: str, write: Write, *, force: bool = False) -> ActualGateway:
        def rebuilt(before: ActualGateway | None) -> ActualGateway:
            actual = transitions.at_revision(name, before, write.revision)
            # nobody has looked yet at what the console shows
            return replace(actual, status=transitions.connecting(write.actor, self._now()))

        return self._store(name, Action.REBUILD, write, rebuilt)

    async def disconnect(self, name: str, write: Write, *, cause: Cause) -> ActualGateway:
        def disconnected(before: ActualGateway | None) -> ActualGateway:
            if cause is Cause.BY_HAND:
                actual = transitions.at_revision(name, before, write.revision)
            else:
                actual = self._ours(name, before, write)
            gateway = actual.gateway
            if cause is Cause.DECLARED:
                gateway = replace(gateway, state=State.DISCONNECTED)
            status = transitions.disconnected(cause, write.actor, self._now())
            after = replace(actual, gateway=gateway, applied=gateway, status=status)
            if cause is Cause.UNDECLARED:
                return replace(after, fingerprint=None, has_password=False)
            return after

        return self._store(name, Action.DISCONNECT, write, disconnected)

    async def adopt(self, desired: DesiredGateway, write: Write) -> ActualGateway:
        """Make a gateway ours, be it in the record or so far in the console only."""
        name = desired.gateway.name

        def adopted(before: ActualGateway | None) -> ActualGateway:
            if before is None and write.revision is None:
                return self._as_desired(desired, None, self._first(desired.gateway, write))
            actual = transitions.at_revision(name, before, write.revision)
            anew = connects_anew(actual, desired)
            return self._edited(desired, actual, write, reconnect=anew)

        return self._store(name, Action.ADOPT, write, adopted)

    async def settle(self, name: str, *, seconds: float) -> ActualGateway:
        """The gateway as it was told: there is nothing to wait for."""
        actual = self._file.read().gateways.get(name)
        if actual is None:
            raise transitions.not_there(name)
        return actual

    def lock(self, actor: Actor, *, seconds: float) -> AbstractAsyncContextManager[None]:
        return self._lock.apply(actor, seconds=seconds)

    async def close(self) -> None:
        pass

    def _store(
        self,
        name: str,
        action: Action,
        write: Write,
        carry_out: Callable[[ActualGateway | None], ActualGateway],
    ) -> ActualGateway:
        """The gateway and the ticks that made it so, in one stroke."""
        with self._lock.write():
            record = self._file.read()
            before = record.gateways.get(name)
            after = carry_out(before)
            revision = str(int(before.revision) + 1) if before else "1"
            after = self._shown(replace(after, revision=revision), write)
            ticks = self._ticks(name, action, write, changes_between(before, after))
            ticks = kept((*record.ticks, *ticks), name)
            self._file.write(Record({**record.gateways, name: after}, ticks))
            return after

    def _ticks(
        self, name: str, action: Action, write: Write, changes: FieldChanges
    ) -> tuple[Tick, ...]:
        """Those of the write; the last one says what became of the gateway."""
        ticks = write.ticks if isinstance(write, TickedWrite) else ()
        if not ticks:
            by = write.actor
            at = self._now()
            ticks = (Tick(at, by.name, by.commit, by.run, name, action),)
        return (*ticks[:-1], replace(ticks[-1], changes=changes))

    def _shown(self, actual: ActualGateway, write: Write) -> ActualGateway:
        """With the status that the console showed, if somebody looked."""
        shows = write.shows if isinstance(write, TickedWrite) else None
        if not shows or actual.status.state is StatusState.DISCONNECTED:
            return actual
        at, who = self._now(), write.actor.name
        if shows.strip().casefold() == CONNECTION_SUCCEEDED.casefold():
            return replace(actual, status=Status(StatusState.SUCCEEDED, at, at, actor=who))
        # the console names no kind: this one blames no field
        failure = Failure(
            FailureKind.PROTOCOL, None, f"Gateway Monitoring shows: {shows[:_LONGEST]}"
        )
        return replace(actual, status=Status(StatusState.FAILED, at, at, failure, actor=who))

    def _ours(self, name: str, before: ActualGateway | None, write: Write) -> ActualGateway:
        return transitions.owned_by(
            self._owner, transitions.at_revision(name, before, write.revision)
        )

    def _first(self, gateway: Gateway, write: Write) -> Status:
        return transitions.at_first(gateway, write.actor, self._now())

    def _edited(
        self, desired: DesiredGateway, actual: ActualGateway, write: Write, *, reconnect: bool
    ) -> ActualGateway:
        status = transitions.after_edit(
            actual, desired.gateway, write.actor, self._now(), reconnect=reconnect
        )
        return self._as_desired(desired, actual, status)

    def _now(self) -> str:
        return stamp(self._clock())

    def _as_desired(
        self, desired: DesiredGateway, actual: ActualGateway | None, status: Status
    ) -> ActualGateway:
        gateway = desired.gateway
        fingerprint, has_password = desired.fingerprint, desired.password is not None
        if not desired.password_known and actual:
            if actual.has_password and actual.gateway.host != gateway.host:
                raise Blocked(
                    f"gateway {gateway.name!r}: its password is not at hand, and a typed one is "
                    f"never moved to another host ({gateway.host!r})",
                    "apply where the secrets can be read",
                )
            fingerprint, has_password = actual.fingerprint, actual.has_password
        return ActualGateway(
            gateway, status, "", self._owner, fingerprint, has_password, applied=gateway
        )
