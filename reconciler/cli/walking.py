"""Walking through the steps of a plan on a terminal: one step, one key, one tick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from reconciler.cli.progress import Progress
from reconciler.cli.streams import tell
from reconciler.cli.terminal import Terminal
from reconciler.cli.ticking import Ticker
from reconciler.errors import WrongUsage
from reconciler.model import (
    CONNECTION_SUCCEEDED,
    MASK,
    DesiredGateway,
    Outcome,
    Result,
    Runbook,
    Step,
    Tick,
)
from reconciler.report.runbook import change_lines, step_lines
from reconciler.report.safe import line
from reconciler.report.style import Style

DONE: Final = "d"
PASSWORD: Final = "p"  # noqa: S105
SKIP: Final = "s"
QUIT: Final = "q"

_STATUS: Final = (
    f"    What status does it show? [c] {CONNECTION_SUCCEEDED}  [o] other words  "
    "[n] not looked at: "
)


@dataclass(slots=True)
class Walk:
    """One person on one terminal; `desired` has the passwords that may be asked for."""

    ticker: Ticker
    desired: Mapping[str, DesiredGateway]
    progress: Progress
    style: Style
    terminal: Terminal = field(default_factory=Terminal)
    outcomes: list[Outcome] = field(default_factory=list)
    ticked: int = 0
    interrupted: bool = False

    async def through(self, runbooks: Sequence[Runbook]) -> None:
        """All of them in order, until somebody quits; what was not carried out is skipped."""
        why = "not started"
        with self.terminal.listening():
            try:
                for one in runbooks:
                    await self._through(one)
            except KeyboardInterrupt:
                self.interrupted = True
                tell("\n")
                why = "not finished: interrupted"
            except _Quit:
                why = "not finished: left by q"
        told = {one.change.gateway for one in self.outcomes}
        for one in runbooks:
            if one.change.gateway not in told:
                self._end(Outcome(one.change, Result.SKIPPED, why))

    async def _through(self, runbook: Runbook) -> None:
        numbers, before = await self.ticker.left(runbook)
        tell("\n" + "\n".join(change_lines(runbook, self.style)) + "\n")
        for one in before:
            tell(self.style.dim(_was_ticked(one)) + "\n")
        for number in numbers[:-1]:
            if not self._do(runbook, number):
                return
            await self.ticker.tick(runbook, number)
            self.ticked += 1
        shows = None
        if numbers:
            if not self._do(runbook, numbers[-1]):
                return
            shows = self._status() if runbook.steps[-1].looks else None
        outcome = await self.ticker.finish(runbook, numbers[-1:], shows)
        self.ticked += outcome.written
        self._end(outcome)

    def _do(self, runbook: Runbook, number: int) -> bool:
        """Show a step until it is done; False where the gateway is skipped."""
        step = runbook.steps[number - 1]
        tell("\n" + "\n".join(step_lines(runbook, number, self.style)) + "\n")
        question, keys = _question(step)
        while True:
            match self.terminal.key(question, keys):
                case "d":
                    return True
                case "p":
                    self._show(runbook, step)
                case "s":
                    kept = f"step {number} of {len(runbook.steps)} is next"
                    self._end(Outcome(runbook.change, Result.SKIPPED, f"skipped; {kept}"))
                    return False
                case _:
                    raise _Quit

    def _show(self, runbook: Runbook, step: Step) -> None:
        desired = self.desired.get(runbook.change.gateway)
        if desired is None or desired.password is None or step.secret is None:
            return
        try:
            self.terminal.show(step.secret, desired.password)
        except WrongUsage as error:
            tell(f"    {error.message}\n")
        else:
            tell(f"    the password was shown and wiped: {MASK}\n")

    def _status(self) -> str | None:
        match self.terminal.key(_STATUS, "con"):
            case "c":
                return CONNECTION_SUCCEEDED
            case "o":
                return self.terminal.line("    Its words: ") or None
            case _:
                return None

    def _end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.progress.show(outcome)


class _Quit(Exception):
    pass


def _question(step: Step) -> tuple[str, str]:
    words = {DONE: "[d]one", SKIP: "[s]kip this gateway", QUIT: "[q]uit"}
    if step.secret:
        words = {DONE: words[DONE], PASSWORD: "show the [p]assword", **words}
    return f"    {'  '.join(words.values())}: ", "".join(words)


def _was_ticked(tick: Tick) -> str:
    by = f"by {line(tick.actor)} at {line(tick.at)}"
    return f"  step {tick.step} of {tick.steps} is ticked, {by}: {line(tick.title)}"
