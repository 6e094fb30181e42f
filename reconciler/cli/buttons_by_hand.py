"""The two buttons of a console: the step is shown, and noted once somebody has done it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.cli.by_hand import say_commit
from reconciler.cli.common import Settings, notice, say
from reconciler.cli.progress import Progress
from reconciler.cli.streams import tell
from reconciler.cli.terminal import is_terminal
from reconciler.cli.ticking import Ticker
from reconciler.cli.walking import Walk
from reconciler.engine.apply import exit_code
from reconciler.engine.runbook import runbook
from reconciler.errors import ExitCode, gravest
from reconciler.model import Actor, ActualGateway, Change, Plan, Runbook, Target
from reconciler.platforms import TickedWrite, open_by_hand
from reconciler.report.runbook import runbook_markdown
from reconciler.report.safe import json_text
from reconciler.report.status import status_data

if TYPE_CHECKING:
    from reconciler.cli.buttons import Button

LOCK_SECONDS: Final = 0.0


@dataclass(frozen=True, slots=True)
class Pressed:
    """One button, pressed by somebody on the gateways that a command names."""

    settings: Settings
    root: Path
    target: Target
    actor: Actor
    button: "Button"

    async def each(self, gateways: Sequence[ActualGateway]) -> ExitCode:
        """Walk through the step of each on a terminal; elsewhere print them and note nothing."""
        refused = [one for one in gateways if self.button.refuse(one)]
        for one in refused:
            why = self.button.refuse(one)
            notice(self.settings, f"{one.gateway.name}: blocked: {why}", "error")
        pressed = [one for one in gateways if one not in refused]
        steps = [self._runbook(one) for one in pressed]
        codes = [ExitCode.BLOCKED] if refused else []
        if is_terminal() and not self.settings.json:
            codes.append(await self._walk(steps, {one.gateway.name: one for one in pressed}))
        else:
            self._print(steps)
        return gravest(codes)

    def _runbook(self, actual: ActualGateway) -> Runbook:
        name = actual.gateway.name
        change = Change(name, self.button.action, "as asked", revision=actual.revision)
        return runbook(change, None, actual)

    async def _walk(self, steps: Sequence[Runbook], known: dict[str, ActualGateway]) -> ExitCode:
        platform = open_by_hand(self.target, self.root)

        async def carry_out(one: Runbook, write: TickedWrite) -> ActualGateway:
            return await self.button.press(platform, known[one.change.gateway], write)

        try:
            async with platform.lock(self.actor, seconds=LOCK_SECONDS):
                ticker = Ticker(platform, self.actor, carry_out)
                walk = Walk(ticker, {}, Progress(self.settings), self.settings.style())
                await walk.through(steps)
        finally:
            await platform.close()
        if walk.ticked:
            say_commit(self.settings, self.root, platform.record)
        plan = Plan(self.target.name, self.target.platform, tuple(one.change for one in steps))
        return exit_code(plan, walk.outcomes, interrupted=walk.interrupted)

    def _print(self, steps: Sequence[Runbook]) -> None:
        if self.settings.json:
            tell(json_text(status_data([], self.target.owner)) + "\n")
        else:
            for number, one in enumerate(steps, 1):
                tell("\n".join(runbook_markdown(number, one, {})) + "\n")
        say(
            self.settings,
            "nothing was noted: run this on a terminal, where the step can be ticked",
        )
