"""Writes over a network that fails: done once, and said to be done only if they are.

By default a few places of each request and reply are cut; GATEWAYS_TEST_EVERY_BYTE=1 cuts at all.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from reconciler.engine import diff
from reconciler.engine.apply import Options, Run, apply
from reconciler.errors import GatewaysError, PlatformUnavailable, RevisionMoved
from reconciler.model import (
    Actor,
    ActualGateway,
    Cause,
    EncryptionMode,
    Gateway,
    Outcome,
    Plan,
    ProtocolType,
    Result,
)
from reconciler.platforms import Write
from reconciler.platforms.http import HttpPlatform
from reconciler.platforms.http_access import Access
from reconciler.platforms.http_retry import Patience
from reconciler.service.store import AuditEntry, Store
from tests.platforms.contract import ACTOR, wanted, write
from tests.platforms.fault_proxy import (
    DROP_REPLY,
    THROUGH,
    Exchange,
    Fault,
    FaultProxy,
    each,
    eavesdropper,
    fault_proxy,
    once,
    reply,
)
from tests.service.running import Running, running

EVERY_BYTE: Final = os.environ.get("GATEWAYS_TEST_EVERY_BYTE") == "1"
QUICK: Final = Patience(attempt=0.5, budget=20.0, first=0.002, longest=0.02)


@dataclass
class Bench:
    """A service, a proxy before it, and a platform on each side of the proxy."""

    service: Running
    proxy: FaultProxy
    through: HttpPlatform
    direct: HttpPlatform

    async def audit(self, name: str) -> list[AuditEntry]:
        found: list[AuditEntry] = []
        await self.service.site.service.look(
            lambda connection: found.extend(Store(connection, "acme").audit(name))
        )
        return found

    async def actions(self, name: str) -> list[str]:
        return [one.action for one in await self.audit(name)]

    async def find(self, name: str) -> ActualGateway | None:
        known = {one.gateway.name: one for one in (await self.direct.read()).gateways}
        return known.get(name)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(tmp_path))
        proxy = await stack.enter_async_context(fault_proxy(int(service.url.rpartition(":")[2])))
        token = await service.token("apply", origin=None)
        bench = Bench(
            service,
            proxy,
            HttpPlatform(Access(f"http://127.0.0.1:{proxy.port}", token), "ours", patience=QUICK),
            HttpPlatform(Access(service.url, token), "ours", patience=QUICK),
        )
        stack.push_async_callback(bench.through.close)
        stack.push_async_callback(bench.direct.close)
        yield bench


def gateway(name: str, **fields: object) -> Gateway:
    given = {
        "protocol_type": ProtocolType.SMTP,
        "host": "mail.example.com",
        "port": 25,
        "user_id": "agent@example.com",
        "default_email_address": "agent@example.com",
        "encryption_mode": EncryptionMode.NONE,
        **fields,
    }
    return Gateway(name, **given)  # type: ignore[arg-type]


def edited(name: str) -> Gateway:
    return gateway(name, host="mail2.example.com", default_user_name="Zoë")


# Each kind of write: how it is made ready, done, and what it leaves in the audit trail.

Act = Callable[[HttpPlatform, str, Write], Awaitable[ActualGateway]]


async def create(platform: HttpPlatform, name: str, how: Write) -> ActualGateway:
    return await platform.create(wanted(gateway(name)), how)


async def edit(platform: HttpPlatform, name: str, how: Write) -> ActualGateway:
    return await platform.edit(wanted(edited(name), "another password"), how, reconnect=True)


async def adopt(platform: HttpPlatform, name: str, how: Write) -> ActualGateway:
    return await platform.adopt(wanted(edited(name)), how)


async def rebuild(platform: HttpPlatform, name: str, how: Write) -> ActualGateway:
    return await platform.rebuild(name, how)


async def disconnect(platform: HttpPlatform, name: str, how: Write) -> ActualGateway:
    return await platform.disconnect(name, how, cause=Cause.UNDECLARED)


KINDS: Final[dict[str, Act]] = {
    "create": create,
    "edit": edit,
    "adopt": adopt,
    "rebuild": rebuild,
    "disconnect": disconnect,
}


async def prepared(bench: Bench, kind: str, name: str) -> Write:
    """The gateway as it is before, and what goes with the write."""
    if kind == "create":
        return write()
    owner = (
        HttpPlatform(bench.direct._client._access, "theirs") if kind == "adopt" else bench.direct
    )
    before = await owner.create(wanted(gateway(name)), write())
    if owner is not bench.direct:
        await owner.close()
    return write(before.revision)


async def expect_done_once(bench: Bench, kind: str, name: str, answer: ActualGateway) -> None:
    actual = await bench.find(name)
    assert actual == answer
    assert await bench.actions(name) == ["create"] * (kind != "create") + [kind]
    if kind == "edit":
        assert actual.gateway == edited(name)
        assert actual.fingerprint == wanted(edited(name), "another password").fingerprint


def places(length: int, *, seed: object) -> Iterable[int]:
    """Where to cut something of that length: at its ends, and in some places between."""
    if EVERY_BYTE:
        return range(length + 1)
    some = random.Random(str(seed)).sample(range(1, length), 6)  # noqa: S311 - not for secrets
    return sorted({0, 1, length - 1, length, *some})


@pytest.mark.parametrize("side", ["request", "reply", "reply, reset"])
@pytest.mark.parametrize("kind", KINDS)
async def test_cut_at_any_byte_a_write_is_done_once(bench: Bench, kind: str, side: str) -> None:
    """P3, P9, P13."""
    how = await prepared(bench, kind, "first")
    await KINDS[kind](bench.through, "first", how)
    clean = bench.proxy.writes[-1]
    length = len(clean.request if side == "request" else clean.reply)
    for place in places(length, seed=(kind, side)):
        name = f"at-{place:05}"
        how = await prepared(bench, kind, name)
        fault = Fault(cut_request=place) if side == "request" else Fault(limit_data=place)
        bench.proxy.rule = once(replace(fault, reset="reset" in side))
        answer = await KINDS[kind](bench.through, name, how)
        await expect_done_once(bench, kind, name, answer)
        assert {one.key for one in bench.proxy.writes[-2:]} >= {how.key}
