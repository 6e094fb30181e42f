"""The gateway service elsewhere, through its HTTP API.

A write is done when the service says so. Where its answer was lost the write is repeated with its
key, and where that brings no answer either, the gateway is read: nothing is assumed.
"""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler.clock import now, stamp
from reconciler.errors import (
    GatewaysError,
    NotThere,
    PlatformUnavailable,
    RevisionMoved,
)
from reconciler.model import (
    Actor,
    ActualGateway,
    Cause,
    DesiredGateway,
    Failure,
    FailureKind,
    Happening,
    Snapshot,
    StatusState,
    Target,
)
from reconciler.platforms import Platform, Write
from reconciler.platforms.http_access import Access, access_of
from reconciler.platforms.http_client import Client, Doubt, Json, Request
from reconciler.platforms.http_history import read_history
from reconciler.platforms.http_listing import path_of, read_all, refreshed
from reconciler.platforms.http_lock import Lease, hold
from reconciler.platforms.http_retry import Patience
from reconciler.wire import actor_data, desired_data
from reconciler.wire_reading import Reader

LONGEST_POLL: Final = 20.0
"""Seconds that one question about a status may take: proxies cut what is still for a minute."""

_ANSWER_SECONDS: Final = 5.0
_SHORTEST_SECRET: Final = 8

NOT_THERE: Final = ""
"""Stands for the revision of a gateway that is yet to be created."""

Seen = Callable[[ActualGateway], bool]


def open_platform(target: Target, _root: Path) -> Platform:
    """The platform of an http target; nothing is sent before it is used.

    Raises:
        InvalidInput: the settings or the environment lack something, or do not fit.

    """
    return HttpPlatform(access_of(target, os.environ), target.owner)


class HttpPlatform:
    """One tenant's gateways on a service that keeps their sessions."""

    def __init__(self, access: Access, owner: str, *, patience: Patience | None = None) -> None:
        self._client = Client(access, patience or Patience())
        self._owner = owner
        self._lease: Lease | None = None

    async def read(self, *, refresh: bool = False) -> Snapshot:
        return await (refreshed(self._client) if refresh else read_all(self._client))

    async def history(self, names: Collection[str]) -> Mapping[str, tuple[Happening, ...]]:
        return await read_history(self._client, names)

    async def create(self, desired: DesiredGateway, write: Write) -> ActualGateway:
        return await self._put(desired, write, NOT_THERE, reconnect=True)

    async def edit(
        self, desired: DesiredGateway, write: Write, *, reconnect: bool
    ) -> ActualGateway:
        return await self._put(desired, write, write.revision, reconnect=reconnect)

    async def adopt(self, desired: DesiredGateway, write: Write) -> ActualGateway:
        name = desired.gateway.name
        body = {**desired_data(desired), "owner": self._owner}
        request = self._request("POST", f"{path_of(name)}/adopt", body, write)
        request = replace(request, secrets=_secrets(desired))
        return await self._write(
            name, request, write.revision, lambda one: self._holds(one, desired)
        )

    async def rebuild(self, name: str, write: Write, *, force: bool = False) -> ActualGateway:
        def seen(actual: ActualGateway) -> bool:
            connects = actual.status.state is not StatusState.DISCONNECTED
            return connects and actual.status.actor == write.actor.name

        path = f"{path_of(name)}/rebuild"
        request = self._request("POST", path, {"force": force}, write)
        return await self._write(name, request, write.revision, seen)

    async def disconnect(self, name: str, write: Write, *, cause: Cause) -> ActualGateway:
        def seen(actual: ActualGateway) -> bool:
            return (actual.status.cause, actual.status.actor) == (cause, write.actor.name)

        path = f"{path_of(name)}/disconnect"
        body = {"owner": self._owner, "cause": cause.value}
        request = self._request("POST", path, body, write)
        return await self._write(name, request, write.revision, seen)

    async def settle(self, name: str, *, seconds: float) -> ActualGateway:
        """Ask until the service says what became of the connection, over whatever cuts us off."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            left = max(0.0, deadline - loop.time())
            wait = math.ceil(min(left, LONGEST_POLL))
            actual = await self._found(
                name,
                f"/status?wait={wait}",
                Patience(wait + _ANSWER_SECONDS, budget=left, attempts=1_000, longest=2.0),
            )
            if actual is None:
                raise NotThere(f"gateway {name!r} is not on the platform", "make a new plan")
            if actual.status.state is not StatusState.CONNECTING:
                return actual
            if loop.time() >= deadline:
                return _timed_out(actual, seconds)

    @asynccontextmanager
    async def lock(self, actor: Actor, *, seconds: float) -> AsyncIterator[None]:
        async with hold(self._client, actor, seconds) as lease:
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    async def close(self) -> None:
        await self._client.close()

    async def _put(
        self, desired: DesiredGateway, write: Write, before: str | None, *, reconnect: bool
    ) -> ActualGateway:
        name = desired.gateway.name
        body = {**desired_data(desired), "owner": self._owner, "reconnect": reconnect}
        request = self._request("PUT", path_of(name), body, replace(write, revision=None))
        request = replace(
            request, headers={**request.headers, **_condition(before)}, secrets=_secrets(desired)
        )
        return await self._write(name, request, before, lambda one: self._holds(one, desired))

    def _request(self, method: str, path: str, body: Json, write: Write) -> Request:
        headers = {"Idempotency-Key": write.key}
        if write.revision is not None:
            headers["If-Match"] = _tag(write.revision)
        if self._lease:
            headers["Gateways-Lock"] = self._lease.id
        body = {**body, "actor": actor_data(write.actor)}
        return Request(method, path, body, headers, writes=True)

    async def _write(
        self, name: str, request: Request, before: str | None, seen: Seen
    ) -> ActualGateway:
        """Send it until the service has answered.

        Where it does not, a gateway that is no longer at revision `before` may show by `seen` that
        it was carried out.
        """
        try:
            return await self._client.ask(request, lambda data: _gateway(data, name))
        except Doubt as doubt:
            return await self._looked_up(name, before, doubt, seen)

    async def _looked_up(
        self, name: str, before: str | None, doubt: Doubt, seen: Seen
    ) -> ActualGateway:
        """What has become of a write that nobody answered for."""
        said = doubt.setback.error
        try:
            actual = await self._found(name)
        except GatewaysError:
            raise doubt from None
        moved = actual is not None and actual.revision != before
        if actual and moved and before is not None and seen(actual):
            return actual
        if not doubt.setback.doubtful:
            raise said  # the last word was a refusal
        if before is None:
            raise doubt  # there is nothing to compare it with
        if not moved:
            raise PlatformUnavailable(
                f"{said.message}; gateway {name!r} is as it was before", said.hint
            )
        raise RevisionMoved(
            f"gateway {name!r} was changed meanwhile, and not as it should be", "make a new plan"
        )

    async def _found(
        self, name: str, path: str = "", patience: Patience | None = None
    ) -> ActualGateway | None:
        request = Request("GET", path_of(name) + path, patience=patience)
        try:
            return await self._client.ask(request, lambda data: _gateway(data, name))
        except NotThere:
            return None

    def _holds(self, actual: ActualGateway, desired: DesiredGateway) -> bool:
        """Whether it is ours and has every field and the password that were declared."""
        known = not desired.password_known or actual.fingerprint == desired.fingerprint
        return known and actual.owner == self._owner and actual.gateway == desired.gateway


def _condition(before: str | None) -> dict[str, str]:
    """What must be there for a PUT to be carried out; None stands for whatever there is."""
    if before == NOT_THERE:
        return {"If-None-Match": "*"}
    return {"If-Match": "*" if before is None else _tag(before)}


def _tag(revision: str) -> str:
    return f'"{revision}"'


def _secrets(desired: DesiredGateway) -> tuple[str, ...]:
    """What must not be seen even if it were sent back; a short one is in every other word."""
    value = desired.password.reveal() if desired.password else ""
    return (value,) if len(value) >= _SHORTEST_SECRET else ()


def _gateway(data: Json, name: str) -> ActualGateway:
    """The gateway that was asked for. Raises ValueError if it is another."""
    actual = Reader(data["certificates"]).actual(data)
    if actual.gateway.name != name:
        raise ValueError(name)
    return actual


def _timed_out(actual: ActualGateway, seconds: float) -> ActualGateway:
    """As the service has it, but that we do not wait any longer."""
    failure = Failure(
        FailureKind.TIMEOUT,
        "host",
        f"not connected within {seconds:g} seconds",
        "the service goes on trying; gateways status shows what comes of it",
    )
    status = replace(
        actual.status, state=StatusState.FAILED, checked_at=stamp(now()), failure=failure
    )
    return replace(actual, status=status)
