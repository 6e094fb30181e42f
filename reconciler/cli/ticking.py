"""Noting what people did: each tick at once, and with the last one the change as carried out."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from reconciler.clock import now, stamp
from reconciler.errors import ExitCode, GatewaysError
from reconciler.model import (
    Actor,
    ActualGateway,
    Outcome,
    Result,
    Runbook,
    StatusState,
    Tick,
)
from reconciler.platforms import ByHand, TickedWrite
from reconciler.report.runbook import ticked_by

CarryOut = Callable[[Runbook, TickedWrite], Awaitable[ActualGateway]]
"""The write that a change stands for."""


@dataclass(frozen=True, slots=True)
class Ticker:
    """Ticks steps in the name of one actor."""

    platform: ByHand
    actor: Actor
    carry_out: CarryOut

    async def left(self, runbook: Runbook) -> tuple[list[int], list[Tick]]:
        """The numbers of the steps that are still to be done, and the ticks of the others."""
        ticked = ticked_by(await self.platform.ticks())
        left, before = [], []
        for number, step in enumerate(runbook.steps, 1):
            tick = ticked.get((runbook.digest, step.title))
            if tick:
                before.append(tick)
            else:
                left.append(number)
        return left, before

    async def tick(self, runbook: Runbook, number: int) -> None:
        """Note one step, of which more are to come."""
        await self.platform.tick(self._tick(runbook, number))

    async def finish(
        self, runbook: Runbook, numbers: Sequence[int], shows: str | None = None
    ) -> Outcome:
        """Note the last steps, and that the gateway is as the change wants it."""
        change = runbook.change
        ticks = tuple(self._tick(runbook, number) for number in numbers)
        key = f"{self.actor.run}:{change.action}:{change.gateway}"
        write = TickedWrite(self.actor, key, change.revision, ticks, shows)
        try:
            actual = await self.carry_out(runbook, write)
        except GatewaysError as error:
            code, hint = error.exit_code, error.hint
            return Outcome(change, Result.FAILED, error.message, code=code, hint=hint)
        return _outcome(runbook, actual)

    def _tick(self, runbook: Runbook, number: int) -> Tick:
        step, change, by = runbook.steps[number - 1], runbook.change, self.actor
        return Tick(
            stamp(now()),
            by.name,
            by.commit,
            by.run,
            change.gateway,
            change.action,
            runbook.digest,
            number,
            len(runbook.steps),
            step.title,
            tuple(one.field for one in step.fields),
        )


def _outcome(runbook: Runbook, actual: ActualGateway) -> Outcome:
    looked = bool(runbook.steps) and runbook.steps[-1].looks
    match actual.status.state:
        case StatusState.FAILED if looked and actual.status.failure:
            failure = actual.status.failure
            return Outcome(
                runbook.change,
                Result.FAILED,
                failure.message,
                written=True,
                failure=failure,
                code=ExitCode.CONNECTION,
            )
        case StatusState.SUCCEEDED if looked:
            told = "connection succeeded"
        case StatusState.CONNECTING if looked:
            told = "nobody has looked yet at what status it shows"
        case _:
            told = "" if runbook.steps else "recorded; nothing to do in the console"
    return Outcome(runbook.change, Result.DONE, told, written=True)
