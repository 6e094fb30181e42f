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
from reconciler.errors import PlatformUnavailable, RevisionMoved
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
    Rule,
    each,
    eavesdropper,
    fault_proxy,
    once,
    reply,
)
from tests.service.running import Running, running

EVERY_BYTE: Final = os.environ.get("GATEWAYS_TEST_EVERY_BYTE") == "1"
QUICK: Final = Patience(attempt=0.5, budget=20.0, first=0.002, longest=0.02)
STUBBORN: Final = replace(QUICK, attempts=40, strange=40, longest=0.004)


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
        return await self.direct._found(name)


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


# what comes back is not the service's word

ELSEWHERE: Final = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
PROXY_ANSWERS: Final = {
    status: reply(status, body=b"<html>Somebody on the way</html>")
    for status in (
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "408 Request Timeout",
        "409 Conflict",
        "412 Precondition Failed",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "504 Gateway Timeout",
    )
} | {
    "429": reply("429 Too Many Requests", "Retry-After: 0"),
    "429 without a time": reply("429 Too Many Requests"),
    "503": reply("503 Service Unavailable", "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT"),
    "another's problem": reply(
        "409 Conflict", body=b'{"type":"about:blank"}', kind="application/problem+json"
    ),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_of_somebody_on_the_way_decides_nothing(
    bench: Bench, kind: str, when: str
) -> None:
    """P10, P11, P13: whether the service was asked or not, the write is done once."""
    for number, answer in enumerate(PROXY_ANSWERS.values()):
        name = f"gw-{number}"
        how = await prepared(bench, kind, name)
        bench.proxy.rule = each([Fault(answer=answer, before=when == "before")] * 2)
        await expect_done_once(bench, kind, name, await KINDS[kind](bench.through, name, how))


def _longer(said: bytes) -> bytes:
    """The same with a length that its body does not have."""
    head, _, body = said.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-le")]
    length = b"Content-Length: %d" % (len(body) + 9_000_000)
    return b"\r\n".join([*lines, length, b"", body])


def _with_body(make: Callable[[bytes], bytes], kind: str = "application/json") -> Fault:
    def mangle(said: bytes) -> bytes:
        return reply("200 OK", body=make(said.partition(b"\r\n\r\n")[2]), kind=kind)

    return Fault(mangle=mangle)


MANGLED: Final = {
    "HTML": _with_body(lambda _: b"<html>Welcome to the hotel</html>", "text/html"),
    "HTML that is called JSON": _with_body(lambda _: b"<html>Welcome</html>"),
    "JSON that is called HTML": _with_body(lambda body: body, "text/html"),
    "no type": Fault(mangle=lambda said: said.replace(b"Content-Type", b"X-Type")),
    "another charset": _with_body(lambda body: body, "application/json; charset=utf-16"),
    "UTF-16": _with_body(lambda body: body.decode().encode("utf-16")),
    "broken UTF-8": _with_body(lambda body: body.replace(b"mail", b"m\xff\xfel")),
    "nothing": _with_body(lambda _: b""),
    "half of it": _with_body(lambda body: body[: len(body) // 2]),
    "a list": _with_body(lambda body: b"[" + body + b"]"),
    "no fields": _with_body(lambda _: b"{}"),
    "another gateway": _with_body(lambda body: body.replace(b'"name":"', b'"name":"x')),
    "a number for a text": _with_body(lambda body: body.replace(b'"mail2.example.com"', b"12")),
    "an unknown status": _with_body(lambda body: body.replace(b'"state":"', b'"state":"x')),
    "not a number": _with_body(lambda body: body.replace(b":25", b":NaN")),
    "very deep": _with_body(lambda _: b'{"a":' + b"[" * 100_000),
    "huge": _with_body(lambda body: body + b" " * 9_000_000),
    "said to be huge": Fault(mangle=_longer),
    "compressed": Fault(
        mangle=lambda said: said.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1)
    ),
    "no HTTP": Fault(mangle=lambda _: b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "two lengths": Fault(
        mangle=lambda said: said.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n", 1)
    ),
}


@pytest.mark.parametrize("name", MANGLED)
async def test_an_answer_that_is_none_is_asked_for_again(bench: Bench, name: str) -> None:
    """P14."""
    for kind in ("edit", "create"):
        how = await prepared(bench, kind, kind)
        bench.proxy.rule = once(MANGLED[name])
        answer = await KINDS[kind](bench.through, kind, how)
        await expect_done_once(bench, kind, kind, answer)
        if kind == "edit":
            assert len(bench.proxy.writes) == 2, "it was not taken for an answer"
    if name != "another gateway":  # in a list every name is as good as another
        bench.proxy.rule = once(MANGLED[name], lambda one: one.method == "GET")
        assert await bench.through.read() == await bench.direct.read()


async def test_a_redirect_elsewhere_brings_nothing_there(bench: Bench) -> None:
    """A3, P14: no byte of the token, nor any other."""
    async with eavesdropper() as (port, heard):
        for location in (
            f"http://127.0.0.1:{port}/v1/gateways",
            f"//localhost:{port}/",
            f"http://127.0.0.1:{bench.proxy.port}@localhost:{port}/",
        ):
            answer = ELSEWHERE % location.encode()
            bench.proxy.rule = once(Fault(answer=answer, before=True), lambda _: True)
            await bench.through.read()
            for before in (True, False):
                for kind, act in KINDS.items():
                    name = f"{kind}-{len(bench.proxy.seen)}"
                    how = await prepared(bench, kind, name)
                    bench.proxy.rule = once(Fault(answer=answer, before=before))
                    await expect_done_once(bench, kind, name, await act(bench.through, name, how))
        bench.proxy.rule = lambda _: Fault(answer=answer, before=True)
        with pytest.raises(PlatformUnavailable, match=r"redirects to .*, which is never followed"):
            await bench.through.read()
        assert heard == b""


async def test_a_request_that_arrives_twice_is_carried_out_once(bench: Bench) -> None:
    """P13."""
    bench.proxy.rule = lambda one: Fault(twice=one.writes)
    for kind, act in KINDS.items():
        how = await prepared(bench, kind, kind)
        await expect_done_once(bench, kind, kind, await act(bench.through, kind, how))
    assert len(bench.proxy.writes) == len(KINDS)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(latency=0.02),
        Fault(slicer=7),
        Fault(bandwidth=20_000),
        Fault(limit_data=3, slow_close=0.1),
        Fault(black_hole=True),
    ],
)
async def test_a_slow_network_is_waited_for(bench: Bench, fault: Fault) -> None:
    """P9."""
    for kind in ("create", "disconnect") if fault.black_hole else KINDS:
        how = await prepared(bench, kind, kind)
        bench.proxy.rule = once(fault)
        await expect_done_once(bench, kind, kind, await KINDS[kind](bench.through, kind, how))


# what cannot be decided in time


def _by_kind(writes: Fault, questions: Fault = THROUGH) -> Rule:
    return lambda one: writes if one.writes else questions


@pytest.mark.parametrize("kind", KINDS)
async def test_where_no_answer_ever_comes_the_gateway_is_read(bench: Bench, kind: str) -> None:
    """P13: neither a false "failed" nor a false "done"."""
    how = await prepared(bench, kind, "stored")
    bench.proxy.rule = _by_kind(DROP_REPLY)
    await expect_done_once(bench, kind, "stored", await KINDS[kind](bench.through, "stored", how))
    how = await prepared(bench, kind, "lost")
    before = await bench.find("lost")
    bench.proxy.rule = _by_kind(Fault(cut_request=20))
    with pytest.raises(PlatformUnavailable, match="gateway 'lost' is as it was before"):
        await KINDS[kind](bench.through, "lost", how)
    assert await bench.find("lost") == before
    assert kind not in (await bench.actions("lost"))[1:]


@pytest.mark.parametrize("kind", KINDS)
async def test_where_nothing_can_be_read_either_nobody_claims_to_know(
    bench: Bench, kind: str
) -> None:
    for fault in (DROP_REPLY, Fault(cut_request=20)):
        name = "stored" if fault is DROP_REPLY else "lost"
        how = await prepared(bench, kind, name)
        bench.proxy.rule = _by_kind(fault, DROP_REPLY)
        with pytest.raises(PlatformUnavailable, match="whether it was carried out is not") as told:
            await KINDS[kind](bench.through, name, how)
        assert "run the command again" in told.value.hint
        assert (kind in (await bench.actions(name))[-1:]) is (name == "stored")


async def test_without_a_revision_there_is_nothing_to_compare_with(bench: Bench) -> None:
    """The same person's earlier rebuild is no proof of this one."""
    how = await prepared(bench, "rebuild", "gw")
    before = await bench.direct.rebuild("gw", how)
    bench.proxy.rule = _by_kind(Fault(cut_request=20))
    with pytest.raises(PlatformUnavailable, match="whether it was carried out is not known"):
        await bench.through.rebuild("gw", write())
    assert await bench.find("gw") == before


@pytest.mark.parametrize("kind", ["edit", "adopt", "rebuild", "disconnect"])
async def test_a_gateway_that_others_changed_meanwhile_is_left_to_a_new_plan(
    bench: Bench, kind: str
) -> None:
    """P10, P11."""
    how = await prepared(bench, kind, "gw")
    moved = await bench.direct.rebuild("gw", replace(write(), actor=Actor("bob")))
    bench.proxy.rule = _by_kind(Fault(cut_request=20))
    with pytest.raises(RevisionMoved, match="was changed meanwhile"):
        await KINDS[kind](bench.through, "gw", how)
    bench.proxy.rule = once(Fault(cut_request=20))
    with pytest.raises(RevisionMoved, match=f"at revision {moved.revision}, no longer at"):
        await KINDS[kind](bench.through, "gw", how)
    assert await bench.find("gw") == moved


async def test_a_refused_create_is_not_taken_for_done(bench: Bench) -> None:
    """What others made, even if it is the same, is not what we made."""
    await bench.direct.create(wanted(gateway("gw")), write())
    with pytest.raises(RevisionMoved, match="is on the platform already"):
        await bench.through.create(wanted(gateway("gw")), write())
    assert len(bench.proxy.writes) == 1


# waiting as one is told

STORM: Final = reply("429 Too Many Requests", "Retry-After: 0.02")


async def test_a_storm_of_refusals_is_outlasted(bench: Bench) -> None:
    """P12: whoever is told when to come back comes back, however often."""
    bench.proxy.rule = each([Fault(answer=STORM, before=True)] * 60)
    answers = await asyncio.gather(
        *(bench.through.create(wanted(gateway(f"gw-{number}")), write()) for number in range(8))
    )
    assert len({one.gateway.name for one in answers}) == 8
    assert len(bench.proxy.writes) == 68
    assert len((await bench.direct.read()).gateways) == 8


@pytest.mark.parametrize(
    "said",
    ["Retry-After: 86400", "Retry-After: Fri, 01 Jan 2100 00:00:00 GMT"],
)
async def test_nobody_waits_for_a_day(bench: Bench, said: str) -> None:
    """P12."""
    busy = reply("503 Service Unavailable", said)
    bench.proxy.rule = lambda _: Fault(answer=busy, before=True)
    async with asyncio.timeout(5):
        with pytest.raises(PlatformUnavailable):
            await bench.through.read()
        bench.proxy.rule = _by_kind(Fault(answer=busy, before=True))
        with pytest.raises(PlatformUnavailable, match="as it was before"):
            await bench.through.create(wanted(gateway("gw")), write())
    assert await bench.find("gw") is None


# apply as a whole

FAULTS: Final = (
    *[THROUGH] * 12,
    DROP_REPLY,
    Fault(limit_data=0, reset=True),
    Fault(cut_request=0),
    Fault(cut_request=400),
    Fault(limit_data=200),
    Fault(twice=True),
    Fault(answer=PROXY_ANSWERS["500 Internal Server Error"]),
    Fault(answer=PROXY_ANSWERS["502 Bad Gateway"], before=True),
    Fault(answer=PROXY_ANSWERS["504 Gateway Timeout"]),
    Fault(answer=PROXY_ANSWERS["409 Conflict"]),
    Fault(answer=PROXY_ANSWERS["412 Precondition Failed"], before=True),
    Fault(answer=STORM, before=True),
    MANGLED["HTML"],
    MANGLED["half of it"],
)


async def _applied(bench: Bench, desired: dict[str, Gateway], run: str) -> list[Outcome]:
    wishes = {name: wanted(one) for name, one in desired.items()}
    actual = {one.gateway.name: one for one in (await bench.direct.read()).gateways}
    changes = diff.diff(list(wishes.values()), actual, diff.Ours("ours"), supervised=True)
    actor = replace(ACTOR, run=run)
    async with bench.through.lock(actor, seconds=5):
        options = Options(parallel=16, per_host=16, wait=False)
        working = Run(bench.through, wishes, actual, actor, options)
        plan = Plan("production", "http", changes=changes)
        return [one async for one in apply(plan, working) if isinstance(one, Outcome)]


@pytest.mark.parametrize("seed", range(2))
async def test_apply_over_a_bad_network_does_each_change_once(bench: Bench, seed: int) -> None:
    """P3, P4, P5, P9, P13: at the end all is as declared, nothing twice, and no word false."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    bench.proxy.rule = lambda _: chance.choice(FAULTS)
    bench.through._client.patience = STUBBORN
    names = [f"gw-{number:02}" for number in range(24)]
    first = {name: gateway(name) for name in names}
    second = {name: edited(name) for name in names[:16]} | {"more": gateway("more")}
    for run, desired in (("one", first), ("two", second)):
        outcomes = await _applied(bench, desired, run)
        assert {one.result for one in outcomes} == {Result.DONE}, outcomes
    actual = {one.gateway.name: one for one in (await bench.direct.read()).gateways}
    assert {name: actual[name].gateway for name in second} == second
    for name in names:
        last = "edit" if name in second else "disconnect"
        assert await bench.actions(name) == ["create", last]
    assert await bench.actions("more") == ["create"]
    assert await bench.actions("") == ["lock", "unlock"] * 2
    assert await _applied(bench, second, "three") == []


async def test_what_apply_says_of_a_dead_network_is_true(bench: Bench) -> None:
    """P9, P15: some of many fail, and each outcome says what is stored."""
    doomed = {f"gw-{number}" for number in range(0, 12, 3)}

    def rule(one: Exchange) -> Fault:
        ours = one.writes and one.path.rpartition("/")[2] in doomed
        return Fault(cut_request=30) if ours else THROUGH

    bench.proxy.rule = rule
    desired = {f"gw-{number}": gateway(f"gw-{number}") for number in range(12)}
    outcomes = await _applied(bench, desired, "one")
    stored = {one.gateway.name for one in (await bench.direct.read()).gateways}
    assert {one.change.gateway for one in outcomes if one.written} == stored
    assert stored == desired.keys() - doomed
    bench.proxy.rule = lambda _: THROUGH
    outcomes = await _applied(bench, desired, "two")
    assert {one.change.gateway for one in outcomes if one.written} == doomed
