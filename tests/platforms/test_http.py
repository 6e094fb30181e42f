"""The http platform: the contract, on a service that keeps sessions, and what a network adds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.mailserver import Faults, MailServer
from reconciler.errors import GatewaysError, InvalidInput, Locked, NotThere, PlatformUnavailable
from reconciler.model import Actor, Cause, FailureKind, Gateway, Secret, StatusState
from reconciler.platforms import Platform
from reconciler.platforms.http import HttpPlatform
from reconciler.platforms.http_access import Access
from reconciler.platforms.http_retry import Patience
from reconciler.service.store import Store
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.tokens import Token
from tests.platforms.contract import (
    ACTOR,
    SECONDS,
    PlatformContract,
    Platforms,
    connected,
    on,
    only,
    server,
    until,
    wanted,
    write,
)
from tests.platforms.fault_proxy import (
    DROP_REPLY,
    THROUGH,
    Exchange,
    Fault,
    FaultProxy,
    fault_proxy,
    once,
    reply,
)
from tests.service.running import Running, running

__all__ = ["server"]  # a fixture is found by its name in this module

QUICK = Patience(attempt=5.0, budget=10.0, first=0.002, longest=0.02)
LOCKS = "reconciler.service.http.locks.SECONDS"
PAGE = "reconciler.platforms.http_listing.PAGE"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, supervise=Supervisor) as service:
        yield service


@pytest.fixture
async def proxy(service: Running) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(int(service.url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
async def token(service: Running) -> Token:
    return await service.token("apply", origin=None)


@pytest.fixture
async def platforms(service: Running, token: Token) -> AsyncIterator[Platforms]:
    async with AsyncExitStack() as stack:

        def open_one(owner: str = "ours", url: str = service.url, **settings: Any) -> Platform:
            access = Access(url, settings.pop("token", token), "acme")
            platform = HttpPlatform(access, owner, **settings)
            stack.push_async_callback(platform.close)
            return platform

        yield open_one


@pytest.fixture
def through(platforms: Platforms, proxy: FaultProxy) -> Platform:
    """A platform on the other side of the proxy."""
    return platforms(url=f"http://127.0.0.1:{proxy.port}", patience=QUICK)


class TestContract(PlatformContract):
    pass


def idle(name: str) -> Gateway:
    """A gateway that keeps no session."""
    return Gateway.of(
        name,
        {
            "protocol_type": "IMAP",
            "host": "mail.example.com",
            "encryption_mode": "NONE",
            "user_id": "agent@example.com",
            "state": "disconnected",
        },
        None,
    )


async def audit(service: Running) -> list[str]:
    found = await service.site.service.look(lambda connection: Store(connection, "acme").audit())
    return [one.action for one in found]


# history


async def test_history_is_the_latest_of_each_gateway(
    platforms: Platforms, through: Platform, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.platforms.http_history.HISTORY_KEPT", 5)
    platform = platforms()
    for name in ("a", "b"):
        await platform.create(wanted(idle(name)), write())
    for number in range(7):
        by = replace(write(), actor=Actor(f"actor-{number}"))
        await platform.disconnect("a", by, cause=Cause.BY_HAND)
    told = await through.history(["a", "b", "c"])
    assert list(told) == ["a", "b"]
    assert [one.actor for one in told["a"]] == [f"actor-{n}" for n in range(2, 7)]
    assert {one.path.partition("?")[0] for one in proxy.seen} == {"/v1/audit"}
    assert len(proxy.seen) == 3
    assert all(one.token for one in told["a"])


@pytest.mark.parametrize(
    "body",
    [
        b'{"entries":7,"cursor":"1"}',
        b'{"entries":[{"gateway":"another"}],"cursor":"1"}',
        b'{"entries":[{"gateway":"a","changes":[]}],"cursor":"1"}',
        (
            b'{"entries":[{"gateway":"a","at":"","actor":"","commit":null,"run":"","action":"edit",'
            b'"token":"","changes":[{"field":"port","before":1.5,"after":2}]}],"cursor":"1"}'
        ),
    ],
)
async def test_a_history_that_is_none_is_refused(
    through: Platform, proxy: FaultProxy, body: bytes
) -> None:
    proxy.rule = lambda _: Fault(
        answer=reply("200 OK", body=body, kind="application/json"), before=True
    )
    with pytest.raises(PlatformUnavailable):
        await through.history(["a"])


# requests and connections


async def test_a_write_is_one_request_on_a_connection_that_is_kept(
    through: Platform, proxy: FaultProxy
) -> None:
    wishes = [wanted(idle(f"gw-{number:03}")) for number in range(200)]
    places = asyncio.Semaphore(8)

    async def create(number: int) -> None:
        async with places:
            await through.create(wishes[number], write())

    await asyncio.gather(*(create(number) for number in range(200)))
    assert len(proxy.seen) == 200
    assert proxy.connections <= 8
    await through.read()
    assert len(proxy.seen) == 201


async def test_a_connection_that_was_closed_meanwhile_is_opened_anew(
    through: Platform, proxy: FaultProxy
) -> None:
    await through.read()
    proxy.rule = once(Fault(limit_data=0), lambda _: True)
    await through.create(wanted(idle("gw")), write())
    assert len((await through.read()).gateways) == 1


async def test_who_died_in_the_middle_of_a_write_may_have_stored_it(platforms: Platforms) -> None:
    """P9: a second attempt that cannot even connect does not mean that nothing was sent."""
    heard = asyncio.Event()

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply("200 OK", body=b"{}", kind="application/json"))
        await reader.readuntil(b"\r\n\r\n")  # the write, on the same connection
        listening.close()
        heard.set()
        writer.close()

    listening = await asyncio.start_server(die, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    platform = platforms(url=url, patience=replace(QUICK, strange=1))
    with pytest.raises(PlatformUnavailable):
        await platform.read()
    platform._client.patience = QUICK  # type: ignore[attr-defined]
    with pytest.raises(PlatformUnavailable, match="whether it was carried out is not known"):
        await platform.create(wanted(idle("gw")), write())
    assert heard.is_set()


async def test_an_address_where_nobody_listens_is_told_at_once(platforms: Platforms) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(PlatformUnavailable, match="connection refused") as told:
            await platforms(url="http://127.0.0.1:1").read()
    assert "url of the target" in told.value.hint


async def test_a_name_that_does_not_resolve_is_told(token: Token) -> None:
    platform = HttpPlatform(Access("http://gateways.invalid:80", token), "ours", patience=QUICK)
    with pytest.raises(PlatformUnavailable, match="there is no such host"):
        await platform.read()
    await platform.close()


# reading


async def test_pages_are_of_one_moment(
    platforms: Platforms,
    through: Platform,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P28."""
    monkeypatch.setattr(PAGE, 3)
    direct = platforms()
    for number in range(10):
        await direct.create(wanted(idle(f"gw-{number}")), write())
    before = await direct.read()
    proxy.seen.clear()

    async def change(_: Exchange) -> None:
        if len(proxy.seen) == 2:
            await direct.create(wanted(idle("a-first-one")), write())
            await direct.adopt(wanted(replace(idle("gw-9"), port=2525)), write())

    proxy.meanwhile = change
    assert await through.read() == before
    assert len(proxy.seen) == 4
    after = await through.read()
    assert [one.gateway.name for one in after.gateways][:2] == ["a-first-one", "gw-0"]


async def test_pages_that_are_gone_are_read_anew(
    service: Running,
    platforms: Platforms,
    through: Platform,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P28: a half of one moment is never put together with a half of another."""
    monkeypatch.setattr(PAGE, 3)
    direct = platforms()
    for number in range(7):
        await direct.create(wanted(idle(f"gw-{number}")), write())
    times = 0

    async def forget(one: Exchange) -> None:
        nonlocal times
        if "cursor" in one.path and times < 2:
            times += 1
            service.site.snapshots._tenants.clear()
            await direct.create(wanted(idle(f"more-{times}")), write())

    proxy.meanwhile = forget
    assert await through.read() == await direct.read()
    assert len((await through.read()).gateways) == 9
    proxy.rule = lambda one: (
        Fault(answer=_problem("410 Gone", "snapshot-gone")) if "cursor" in one.path else THROUGH
    )
    with pytest.raises(PlatformUnavailable, match="was gone 5 times"):
        await through.read()


def _problem(status: str, slug: str) -> bytes:
    body = f'{{"type":"urn:gateways:problem:{slug}","detail":"it is {slug}"}}'.encode()
    return reply(status, body=body, kind="application/problem+json")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"count":4', b'"count":5'),
        (b'"count":4', b'"count":3'),
        (b'"next":null', b'"next":"more"'),
        (b'"name":"gw-2"', b'"name":"gw-1"'),
    ],
)
async def test_a_list_that_is_not_whole_is_no_list(
    through: Platform, proxy: FaultProxy, before: bytes, after: bytes
) -> None:
    """P29."""
    for number in range(4):
        await through.create(wanted(idle(f"gw-{number}")), write())
    proxy.rule = lambda _: Fault(mangle=lambda said: _replaced(said, before, after))
    with pytest.raises(PlatformUnavailable, match="gateways and says that there are"):
        await through.read()


def _replaced(said: bytes, before: bytes, after: bytes) -> bytes:
    body = said.partition(b"\r\n\r\n")[2]
    assert before in body
    return reply("200 OK", body=body.replace(before, after), kind="application/json")


async def test_a_list_without_an_end_is_not_read_for_ever(
    through: Platform, proxy: FaultProxy
) -> None:
    await through.create(wanted(idle("gw")), write())
    said = (await _raw_list(through, proxy)).replace(b'"next":null', b'"next":"more"')
    proxy.rule = lambda _: Fault(
        answer=reply(
            "200 OK", body=said.replace(b'"count":1', b'"count":5'), kind="application/json"
        )
    )
    with pytest.raises(PlatformUnavailable, match="listed 5 gateways and says that there are 5"):
        await through.read()


async def _raw_list(through: Platform, proxy: FaultProxy) -> bytes:
    await through.read()
    return proxy.seen[-1].reply.partition(b"\r\n\r\n")[2]


async def test_the_service_keeps_sessions(platforms: Platforms) -> None:
    assert (await platforms().read()).supervised


# who may do what


async def test_a_token_that_may_only_look(service: Running, platforms: Platforms) -> None:
    await platforms().create(wanted(idle("gw")), write())
    reader = platforms(token=await service.token("read", origin=None))
    assert len((await reader.read()).gateways) == 1
    with pytest.raises(PlatformUnavailable, match="needs a token of role apply") as told:
        await reader.create(wanted(idle("other")), write())
    assert "--role apply" in told.value.hint
    with pytest.raises(PlatformUnavailable, match="needs a token of role operate"):
        await reader.rebuild("gw", write())
    operator = platforms(token=await service.token("operate", origin=None))
    await operator.disconnect("gw", write(), cause=Cause.BY_HAND)
    with pytest.raises(PlatformUnavailable, match="needs a token of role apply"):
        await operator.disconnect("gw", write(), cause=Cause.DECLARED)


async def test_a_token_that_is_not_known(token: Token, platforms: Platforms) -> None:
    other = platforms(token=replace(token, secret=Secret("x" * 43)))
    with pytest.raises(PlatformUnavailable, match="the token is not known, or has ended") as told:
        await other.read()
    assert "Authorization" in told.value.hint or "gateways token new" in told.value.hint


async def test_what_cannot_be_stored_names_the_field(platforms: Platforms) -> None:
    wrong = replace(idle("gw"), host="no host at all", encoding_mode="UTF-16")
    with pytest.raises(InvalidInput, match=r"gateway\.encoding_mode") as told:
        await platforms().create(wanted(wrong), write())
    assert "gateway.host" in told.value.message
    assert "no host at all" not in told.value.message


async def test_who_acted_is_in_the_trail(service: Running, platforms: Platforms) -> None:
    platform = platforms()
    created = await platform.create(wanted(idle("gw")), write())
    await platform.rebuild("gw", write(created.revision))
    found = await service.site.service.look(lambda c: Store(c, "acme").audit("gw"))
    assert {(one.actor, one.commit, one.run) for one in found} == {("alice", "c0ffee", "run-1")}
    assert all(len(one.token) == 12 for one in found)


# settling


async def test_settling_outlasts_cuts(
    through: Platform, proxy: FaultProxy, server: MailServer
) -> None:
    server.faults = Faults(refusal_seconds=0.5)
    for number, fault in enumerate((DROP_REPLY, Fault(limit_data=40), Fault(cut_request=10))):
        wish = wanted(on(server, f"gw-{number}"), "wrong")
        await through.create(wish, write())
        proxy.rule = once(fault, lambda one: "/status" in one.path)
        settled = await through.settle(wish.gateway.name, seconds=SECONDS)
        assert settled.status.state is StatusState.FAILED
        assert settled.status.failure is not None
        assert settled.status.failure.kind is FailureKind.AUTH


async def test_settling_ends_in_time_whatever_is_in_the_way(
    through: Platform, proxy: FaultProxy, server: MailServer
) -> None:
    server.faults = Faults(silent=True)
    await through.create(wanted(on(server)), write())
    settled = await through.settle("support-out", seconds=0.1)
    assert settled.status.failure is not None
    assert settled.status.failure.kind is FailureKind.TIMEOUT
    assert "the service goes on" in settled.status.failure.hint
    assert (await only(through)).status.state is StatusState.CONNECTING
    proxy.rule = lambda _: DROP_REPLY
    async with asyncio.timeout(5):
        with pytest.raises(PlatformUnavailable, match="was lost"):
            await through.settle("support-out", seconds=0.5)


async def test_a_server_that_answers_late_is_waited_for(
    platforms: Platforms, server: MailServer
) -> None:
    platform = platforms()
    server.faults = Faults(seconds_per_byte=0.005)
    await connected(platform, wanted(on(server)))
    with pytest.raises(NotThere, match="'absent' is not on the platform"):
        await platform.settle("absent", seconds=SECONDS)


# the lock


async def test_a_long_apply_keeps_its_lease(
    platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOCKS, 0.6)
    platform = platforms()
    async with platform.lock(ACTOR, seconds=0):
        with pytest.raises(Locked, match=r"alice \(run run-1\) holds the lock"):
            async with platforms().lock(Actor("bob"), seconds=1.5):
                pytest.fail("the lease was not renewed")
        await platform.create(wanted(idle("gw")), write())


async def test_renewing_outlasts_cuts(
    through: Platform, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOCKS, 1.5)
    renewals = 0

    def rule(one: Exchange) -> Fault:
        nonlocal renewals
        renewals += (renews := one.method == "PUT" and "/lock/" in one.path)
        return DROP_REPLY if renews and renewals % 2 else THROUGH

    proxy.rule = rule
    async with through.lock(ACTOR, seconds=0):
        await until(lambda: renewals >= 4)
        await through.create(wanted(idle("gw")), write())


async def test_whose_lease_ran_out_can_write_no_more(
    service: Running,
    platforms: Platforms,
    through: Platform,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P8: cut off from the service for too long, even where nobody took over."""
    monkeypatch.setattr(LOCKS, 0.6)
    proxy.rule = lambda one: DROP_REPLY if one.method == "PUT" else THROUGH
    proxy.rule = lambda one: Fault(cut_request=0) if "/lock/" in one.path else THROUGH
    async with through.lock(ACTOR, seconds=0):
        await asyncio.sleep(0.8)
        with pytest.raises(Locked, match="the lock was lost"):
            await through.create(wanted(idle("gw")), write())
        async with platforms().lock(Actor("bob"), seconds=5):
            with pytest.raises(Locked, match="the lock was lost"):
                await through.create(wanted(idle("gw")), write())
    assert (await platforms().read()).gateways == ()
    assert await audit(service) == ["lock", "lock", "unlock"]


@pytest.mark.parametrize("fault", [DROP_REPLY, Fault(limit_data=60), Fault(twice=True)])
async def test_a_lock_that_was_given_and_not_heard_of_is_ours(
    service: Running, through: Platform, proxy: FaultProxy, fault: Fault
) -> None:
    """P13."""
    proxy.rule = once(fault, lambda one: one.method == "POST")
    async with through.lock(ACTOR, seconds=0):
        await through.create(wanted(idle("gw")), write())
    assert await audit(service) == ["lock", "create", "unlock"]


async def test_a_lock_that_was_asked_for_in_vain_is_given_back(
    service: Running, platforms: Platforms, through: Platform, proxy: FaultProxy
) -> None:
    """P6: interrupted in the middle of asking."""
    proxy.rule = once(Fault(latency=0.3), lambda one: one.path == "/v1/lock")

    async def hold() -> None:
        async with through.lock(ACTOR, seconds=5):
            pytest.fail("it was interrupted before")

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0.1)
    holding.cancel()
    await asyncio.wait([holding])
    assert holding.cancelled()
    async with platforms().lock(Actor("bob"), seconds=0):
        pass
    assert await audit(service) == ["lock", "unlock"] * 2


async def test_a_lock_that_cannot_be_given_back_stops_nobody(
    through: Platform, proxy: FaultProxy
) -> None:
    async with asyncio.timeout(10), through.lock(ACTOR, seconds=0):
        proxy.rule = lambda _: Fault(cut_request=0)


# clocks


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_two_clocks_that_differ(tmp_path: Path, minutes: int) -> None:
    """P16: only the service's own clock counts."""

    def wrong() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=minutes)

    async with running(tmp_path / "other", clock=wrong) as service:
        token = await service.token("apply", origin=None)
        platform = HttpPlatform(Access(service.url, token), "ours")
        async with platform.lock(ACTOR, seconds=0):
            created = await platform.create(wanted(idle("gw")), write())
            await platform.rebuild("gw", write(created.revision))
            other = HttpPlatform(Access(service.url, token), "ours")
            with pytest.raises(GatewaysError, match="holds the lock"):
                async with other.lock(Actor("bob"), seconds=0.2):
                    pytest.fail("two hold the lock")
            await other.close()
        await platform.close()
