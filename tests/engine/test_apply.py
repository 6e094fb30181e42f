"""Apply on the embedded platform and a real mail server: what it promises, whatever is declared."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.mailserver import Faults, MailServer
from reconciler.engine import diff, guard
from reconciler.engine.apply import BREAKER, LEFT, Options, Run, apply, exit_code
from reconciler.errors import ExitCode
from reconciler.model import (
    Action,
    Actor,
    Cause,
    DesiredGateway,
    EncryptionMode,
    Fingerprint,
    Gateway,
    Limits,
    Outcome,
    Place,
    Plan,
    ProtocolType,
    Result,
    Secret,
    Snapshot,
    StatusState,
)
from reconciler.platforms import Write
from reconciler.platforms.embedded import EmbeddedPlatform

OWNER = "acme"
KEY = Secret("fingerprint key")
ACTOR = Actor("jane", "abc", "run1")
ACCOUNTS = {"u1@example.test": "p1", "u2@example.test": "p2"}


@dataclass
class World:
    """A mail server and a database, and what one run does to them."""

    server: MailServer
    database: Path
    runs: int = 0

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[EmbeddedPlatform]:
        platform = EmbeddedPlatform(self.database, OWNER)
        try:
            yield platform
        finally:
            await platform.close()

    async def plan(
        self, desired: Sequence[DesiredGateway], limits: Limits
    ) -> tuple[Plan, Snapshot]:
        async with self.platform() as platform:
            snapshot = await platform.read()
        actual = {one.gateway.name: one for one in snapshot.gateways}
        changes = diff.diff(desired, actual, diff.Ours(OWNER), supervised=False)
        plan = Plan("local", "embedded", changes=changes)
        wanted = {one.gateway.name: one for one in desired}
        return guard.guard(plan, limits, wanted, actual), snapshot

    async def apply(
        self,
        desired: Sequence[DesiredGateway],
        limits: Limits | None = None,
        options: Options | None = None,
    ) -> tuple[Plan, list[Outcome], Run]:
        plan, snapshot = await self.plan(desired, limits or Limits(max_disconnects=None))
        self.runs += 1
        async with self.platform() as platform:
            run = Run(
                platform,
                {one.gateway.name: one for one in desired},
                {one.gateway.name: one for one in snapshot.gateways},
                replace(ACTOR, run=f"run{self.runs}"),
                options or Options(seconds=10),
            )
            events = [event async for event in apply(plan, run)]
        return plan, [event for event in events if isinstance(event, Outcome)], run

    def gateway(self, name: str, **fields: object) -> DesiredGateway:
        given = {
            "protocol_type": "IMAP",
            "host": "127.0.0.1",
            "encryption_mode": "NONE",
            "user_id": "u1@example.test",
            "default_email_address": "u1@example.test",
            **fields,
        }
        protocol = ProtocolType(str(given["protocol_type"]))
        given.setdefault("port", self.server.port(protocol, EncryptionMode.NONE))
        password = Secret(ACCOUNTS[str(given["user_id"])])
        return DesiredGateway(
            Gateway.of(name, given, None),
            lambda: Place("gateways.d/a.yaml"),
            secret="mailbox",
            password=password,
            fingerprint=Fingerprint.of(password, KEY, target="local", gateway=name),
        )


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        async with MailServer(dict(ACCOUNTS)) as server:
            yield World(server, Path(folder) / "platform.db")


FIELDS = st.fixed_dictionaries(
    {
        "protocol_type": st.sampled_from(["SMTP", "IMAP"]),
        "user_id": st.sampled_from(sorted(ACCOUNTS)),
        "state": st.sampled_from(["connected", "connected", "disconnected"]),
        "encoding_mode": st.sampled_from(["UTF-8", "GBK"]),
        "case_sensitivity": st.booleans(),
        "default_user_name": st.sampled_from([None, "", "Support", "Zoë, «Desk»"]),
        "labels": st.dictionaries(st.sampled_from(["env", "team"]), st.sampled_from(["a", "b"])),
        "when_failed": st.sampled_from(["rebuild", "ignore"]),
    }
)
FLEETS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), FIELDS, max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=FLEETS, second=FLEETS)
def test_a_second_plan_is_empty_whatever_was_applied(
    first: Mapping[str, Mapping[str, object]], second: Mapping[str, Mapping[str, object]]
) -> None:
    async def story() -> None:
        async with world() as here:
            for fleet in (first, second, first):
                desired = [here.gateway(name, **fields) for name, fields in fleet.items()]
                plan, outcomes, _ = await here.apply(desired)
                assert [one.result for one in outcomes] == [Result.DONE] * len(plan.changes)
                again, snapshot = await here.plan(desired, Limits(max_disconnects=None))
                assert again.changes == ()
                assert diff.drift(snapshot.gateways, OWNER, {}) == ()

    asyncio.run(story())


async def test_order_is_disconnects_then_edits_then_creates() -> None:
    async with world() as here:
        await here.apply([here.gateway("b"), here.gateway("c")])
        _, outcomes, _ = await here.apply(
            [here.gateway("a"), here.gateway("b", encoding_mode="GBK")]
        )
        assert [(one.change.action, one.change.gateway) for one in outcomes] == [
            (Action.DISCONNECT, "c"),
            (Action.EDIT, "b"),
            (Action.CREATE, "a"),
        ]


async def test_a_refused_login_fails_with_the_field_and_code_9_and_is_rebuilt_next_time() -> None:
    async with world() as here:
        desired = [here.gateway("a")]
        here.server.accounts["u1@example.test"] = "another"
        plan, outcomes, _ = await here.apply(desired)
        assert outcomes[0].result is Result.FAILED
        assert outcomes[0].failure
        assert outcomes[0].failure.field == "user_password"
        assert exit_code(plan, outcomes, interrupted=False) is ExitCode.CONNECTION
        here.server.accounts.update(ACCOUNTS)
        again, _ = await here.plan(desired, Limits())
        assert [change.action for change in again.changes] == [Action.REBUILD]
        _, outcomes, _ = await here.apply(desired)
        assert outcomes[0].result is Result.DONE


async def test_breaker_stops_after_three_that_worked_before_unless_told_to_keep_going() -> None:
    async with world() as here:
        fleet = [here.gateway(name, protocol_type="SMTP") for name in "abcdefgh"]
        await here.apply(fleet)
        here.server.faults = Faults(hide_login=True)
        broken = [
            here.gateway(name, protocol_type="SMTP", user_id="u2@example.test")
            for name in "abcdefgh"
        ]
        plan, outcomes, _ = await here.apply(broken, options=Options(parallel=1, seconds=10))
        results = [one.result for one in outcomes]
        assert results == [Result.FAILED] * BREAKER + [Result.SKIPPED] * (8 - BREAKER)
        assert exit_code(plan, outcomes, interrupted=False) is ExitCode.PARTLY_APPLIED
        here.server.faults = Faults()
        _, outcomes, _ = await here.apply(broken, options=Options(parallel=1, seconds=10))
        assert {one.result for one in outcomes} == {Result.DONE}
        here.server.faults = Faults(hide_login=True)
        _, outcomes, _ = await here.apply(
            fleet, options=Options(parallel=1, seconds=10, keep_going=True)
        )
        assert [one.result for one in outcomes] == [Result.FAILED] * 8


async def test_stop_finishes_what_is_under_way_and_skips_the_rest() -> None:
    async with world() as here:
        desired = [here.gateway(name) for name in "abcd"]
        plan, snapshot = await here.plan(desired, Limits())
        async with here.platform() as platform:
            wanted = {one.gateway.name: one for one in desired}
            run = Run(platform, wanted, {}, ACTOR, Options(parallel=1))
            outcomes = []
            async for event in apply(plan, run):
                run.stop.set()
                if isinstance(event, Outcome):
                    outcomes.append(event)
        assert [one.result for one in outcomes] == [Result.DONE] + [Result.SKIPPED] * 3
        assert exit_code(plan, outcomes, interrupted=True) is ExitCode.INTERRUPTED
        assert snapshot.gateways == ()
        _, outcomes, _ = await here.apply(desired)
        assert [one.result for one in outcomes] == [Result.DONE] * 3


async def test_who_gives_up_waits_for_nothing() -> None:
    """P6: what is under way is left, and named; the rest has not begun."""
    async with world() as here:
        here.server.faults = Faults(silent=True)
        desired = [here.gateway(name) for name in "abc"]
        plan, _ = await here.plan(desired, Limits())
        async with here.platform() as platform:
            wanted = {one.gateway.name: one for one in desired}
            run = Run(platform, wanted, {}, ACTOR, Options(parallel=1))
            outcomes = []
            async with asyncio.timeout(10):
                async for event in apply(plan, run):
                    if isinstance(event, Outcome):
                        outcomes.append(event)
                    else:
                        asyncio.get_running_loop().call_later(0.2, run.give_up)
        assert [(one.result, one.message) for one in outcomes] == [
            (Result.FAILED, LEFT),
            *[(Result.SKIPPED, "not started: interrupted")] * 2,
        ]
        assert not run.under_way
        assert exit_code(plan, outcomes, interrupted=True) is ExitCode.INTERRUPTED


async def test_a_gateway_that_moved_on_is_refused_and_the_others_are_done() -> None:
    async with world() as here:
        await here.apply([here.gateway("a"), here.gateway("b")])
        desired = [here.gateway(name, encoding_mode="GBK") for name in "ab"]
        plan, snapshot = await here.plan(desired, Limits())
        async with here.platform() as platform:
            await platform.disconnect("a", Write(ACTOR, "by hand"), cause=Cause.BY_HAND)
            wanted = {one.gateway.name: one for one in desired}
            before = {one.gateway.name: one for one in snapshot.gateways}
            run = Run(platform, wanted, before, ACTOR, Options())
            events = [event async for event in apply(plan, run)]
        outcomes = {one.change.gateway: one for one in events if isinstance(one, Outcome)}
        assert outcomes["a"].code == ExitCode.STALE
        assert outcomes["b"].result is Result.DONE
        code = exit_code(plan, list(outcomes.values()), interrupted=False)
        assert code is ExitCode.PARTLY_APPLIED


async def test_changes_on_one_mailbox_are_made_one_after_the_other() -> None:
    async with world() as here:
        here.server.faults = Faults(seconds_per_byte=0.001)
        fleet = [here.gateway(name, protocol_type="POP3") for name in "abc"]
        _, outcomes, _ = await here.apply(fleet, options=Options(parallel=3, seconds=30))
        # POP3 locks its maildrop: two at once would be refused as busy
        assert [one.result for one in outcomes] == [Result.DONE] * 3


async def test_no_wait_makes_no_contact_and_the_next_plan_rebuilds() -> None:
    async with world() as here:
        desired = [here.gateway("a")]
        await here.apply(desired, options=Options(wait=False))
        assert here.server.counters.connections == 0
        plan, snapshot = await here.plan(desired, Limits())
        assert snapshot.gateways[0].status.state is StatusState.CONNECTING
        assert [change.action for change in plan.changes] == [Action.REBUILD]


@pytest.mark.parametrize("state", ["connected", "disconnected"])
async def test_disconnected_gateways_are_created_without_contact(state: str) -> None:
    async with world() as here:
        _, outcomes, _ = await here.apply([here.gateway("a", state=state)])
        assert outcomes[0].result is Result.DONE
        assert (here.server.counters.connections > 0) is (state == "connected")
