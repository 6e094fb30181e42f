"""Carry out a plan. It decides nothing: what to do stands in the plan, how often is a limit.

Disconnects come first, then edits and rebuilds, then creates, so that a mailbox is free before
another gateway takes it. Within a stage changes run side by side, those on one mailbox in turn.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from reconciler.engine.checks import connects
from reconciler.errors import ExitCode, GatewaysError, gravest
from reconciler.model import (
    Action,
    Actor,
    ActualGateway,
    Cause,
    Change,
    DesiredGateway,
    Gateway,
    Outcome,
    Plan,
    Result,
    State,
    StatusState,
)
from reconciler.platforms import Platform, Write

STAGES: Final = (
    frozenset({Action.DISCONNECT}),
    frozenset({Action.EDIT, Action.REBUILD, Action.ADOPT}),
    frozenset({Action.CREATE}),
)

# A typo in a default must not take every gateway down: after so many that worked before and no
# longer connect, nothing further is started. Nor after so many writes in a row that the platform
# did not carry out: each is tried for half a minute, and one that is gone would take hours.
BREAKER: Final = 3

LEFT: Final = "interrupted before it was finished: the next plan says what remains"


@dataclass(frozen=True, slots=True)
class Options:
    """How to apply: how many changes at once, and how many of them on one mail host.

    `seconds` is how long one gateway may take to connect.
    """

    parallel: int = 8
    per_host: int = 4
    wait: bool = True
    seconds: float = 60.0
    keep_going: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    change: Change


@dataclass(slots=True)
class Run:
    """One apply: what it acts through, what it needs to know, and what it learns while it works.

    `before` is what the platform had when the plan was made. Once `stop` is set no new change
    starts, and `give_up` leaves those that are under way.
    """

    platform: Platform
    desired: Mapping[str, DesiredGateway]
    before: Mapping[str, ActualGateway]
    actor: Actor
    options: Options
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    events: "asyncio.Queue[Started | Outcome | None]" = field(default_factory=asyncio.Queue)
    hosts: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    under_way: set[asyncio.Task[Outcome]] = field(default_factory=set)
    given_up: bool = False
    broken: int = 0
    unanswered: int = 0

    def why_not(self) -> str:
        """Why no further change may start; empty if it may."""
        if self.stop.is_set():
            return "not started: interrupted"
        if self.broken >= BREAKER and not self.options.keep_going:
            return (
                f"not started: {BREAKER} gateways that worked before do not connect any more; "
                "--keep-going applies the rest anyway"
            )
        if self.unanswered >= BREAKER:
            return (
                f"not started: the platform did not carry out the {BREAKER} changes before; "
                "run apply again once it does"
            )
        return ""

    def give_up(self) -> None:
        """Wait for nothing more; whether what is under way was written is not known then."""
        self.stop.set()
        self.given_up = True
        for task in self.under_way:
            task.cancel()

    def gateway(self, name: str) -> Gateway:
        return (self.desired.get(name) or self.before[name]).gateway


async def apply(plan: Plan, run: Run) -> AsyncIterator[Started | Outcome]:
    """Carry out every planned change, and tell what becomes of each as it happens.

    One failed change does not stop the others; those under way always finish; what was not
    started is skipped, and says why. A blocked change is skipped before anything starts.
    """
    for outcome in blocked(plan):
        yield outcome
    driver = asyncio.create_task(_drive(plan, run))
    driver.add_done_callback(lambda _: run.events.put_nowait(None))
    try:
        while (event := await run.events.get()) is not None:
            yield event
    finally:
        await driver


def blocked(plan: Plan) -> list[Outcome]:
    """What becomes of the changes that must not be carried out."""
    return [
        Outcome(change, Result.SKIPPED, f"blocked: {change.blocked_by}")
        for change in plan.changes
        if change.blocked
    ]


async def _drive(plan: Plan, run: Run) -> None:
    for stage in STAGES:
        groups: dict[tuple[str, int, str | None], list[Change]] = defaultdict(list)
        for change in plan.planned:
            if change.action in stage:
                groups[run.gateway(change.gateway).mailbox].append(change)
        waiting = list(reversed(groups.values()))
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(run.options.parallel, len(waiting))):
                workers.create_task(_work(run, waiting))


async def _work(run: Run, waiting: list[list[Change]]) -> None:
    while waiting:
        for change in waiting.pop():
            async with _host(run, change):
                if reason := run.why_not():
                    run.events.put_nowait(Outcome(change, Result.SKIPPED, reason))
                    continue
                run.events.put_nowait(Started(change))
                run.events.put_nowait(await _unless_given_up(run, change))


async def _unless_given_up(run: Run, change: Change) -> Outcome:
    task = asyncio.create_task(_carry_out(run, change))
    run.under_way.add(task)
    try:
        return await task
    except asyncio.CancelledError:
        if not run.given_up:
            raise
        return Outcome(change, Result.FAILED, LEFT, code=ExitCode.INTERRUPTED)
    finally:
        run.under_way.discard(task)


def _host(run: Run, change: Change) -> asyncio.Semaphore:
    host = run.gateway(change.gateway).host
    # who does not wait makes no contact, and then there is no mail server to spare
    at_once = run.options.per_host if run.options.wait else run.options.parallel
    return run.hosts.setdefault(host, asyncio.Semaphore(at_once))


async def _carry_out(run: Run, change: Change) -> Outcome:
    try:
        await _write(run, change)
    except GatewaysError as error:
        run.unanswered = run.unanswered + 1 if error.exit_code is ExitCode.PLATFORM else 0
        return Outcome(change, Result.FAILED, error.message, code=error.exit_code, hint=error.hint)
    run.unanswered = 0
    if not (run.options.wait and connects(change, run.gateway(change.gateway))):
        return Outcome(change, Result.DONE, written=True)
    try:
        settled = await run.platform.settle(change.gateway, seconds=run.options.seconds)
    except GatewaysError as error:
        return Outcome(
            change,
            Result.FAILED,
            error.message,
            written=True,
            code=error.exit_code,
            hint=error.hint,
        )
    return _settled(run, change, settled)


async def _write(run: Run, change: Change) -> None:
    name = change.gateway
    write = Write(run.actor, f"{run.actor.run}:{change.action}:{name}", change.revision)
    await put(run.platform, change, run.desired.get(name), write)


async def put(
    platform: Platform, change: Change, desired: DesiredGateway | None, write: Write
) -> ActualGateway:
    """The one write that a change stands for; what is no longer declared has no `desired`."""
    match change.action:
        case Action.CREATE:
            return await platform.create(declared(change, desired), write)
        case Action.EDIT:
            reconnect = change.reconnects
            return await platform.edit(declared(change, desired), write, reconnect=reconnect)
        case Action.REBUILD:
            return await platform.rebuild(change.gateway, write)
        case Action.DISCONNECT:
            return await platform.disconnect(change.gateway, write, cause=_cause(desired))
        case Action.ADOPT:
            return await platform.adopt(declared(change, desired), write)


def declared(change: Change, desired: DesiredGateway | None) -> DesiredGateway:
    """What is declared of the gateway of a change that makes it so. Raises LookupError."""
    if desired is None:
        raise LookupError(change.gateway)
    return desired


def _cause(desired: DesiredGateway | None) -> Cause:
    if desired is None:
        return Cause.UNDECLARED
    return Cause.DECLARED if desired.gateway.state is State.DISCONNECTED else Cause.WHEN_FAILED


def _settled(run: Run, change: Change, actual: ActualGateway) -> Outcome:
    status = actual.status
    if status.state is StatusState.SUCCEEDED:
        return Outcome(change, Result.DONE, "connection succeeded", written=True)
    before = run.before.get(change.gateway)
    if before and before.status.state is StatusState.SUCCEEDED:
        run.broken += 1
    failure = status.failure
    message = failure.message if failure else f"the connection is {status.state}"
    return Outcome(
        change,
        Result.FAILED,
        message,
        written=True,
        failure=failure,
        code=ExitCode.CONNECTION,
        hint=failure.hint if failure else "",
    )


def exit_code(plan: Plan, outcomes: Sequence[Outcome], *, interrupted: bool) -> ExitCode:
    """How an apply ends: 7 where a write failed or was skipped after another was done.

    A gateway that moved on stands for a stale plan only where nothing was done.
    """
    codes = [ExitCode.INTERRUPTED] if interrupted else []
    tried = [one for one in outcomes if not one.change.blocked]
    unwritten = [one for one in tried if not one.written]
    partly = bool(unwritten) and len(unwritten) < len(tried)
    if partly:
        codes.append(ExitCode.PARTLY_APPLIED)
    codes.extend(
        ExitCode(one.code)
        for one in tried
        if one.result is Result.FAILED and not (partly and one.code == ExitCode.STALE)
    )
    if any(change.blocked for change in plan.changes):
        codes.append(ExitCode.BLOCKED)
    return gravest(codes)
