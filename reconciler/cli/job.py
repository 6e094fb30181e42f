"""What an apply or a takeover was asked for, and what is refused before anything is done."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.cli.common import Settings
from reconciler.cli.planning import Governed
from reconciler.errors import WrongUsage
from reconciler.model import Action, Limits, Plan, Selection, Target

if TYPE_CHECKING:
    from reconciler.declarations.project import Project
    from reconciler.engine.apply import Options
    from reconciler.pipeline import Wish


@dataclass(frozen=True, slots=True)
class Job:
    settings: Settings
    project: "Project"
    ruled: Governed
    limits: Limits
    options: "Options"
    budgets_given: bool = False
    lock_seconds: float = 0.0
    refresh: bool = False
    adopting: frozenset[str] = frozenset()

    @property
    def target(self) -> Target:
        return self.ruled.target

    def wish(self, saved: Plan | None = None) -> "Wish":
        """What to plan; with a saved plan, for just what that was made for."""
        from reconciler.pipeline import Wish

        selection = self.settings.selection(self.target)
        refresh, adopting = self.refresh, self.adopting
        if saved and not (self.settings.only or self.settings.labels):
            labels = {*self.target.select, *saved.selection.labels}
            selection = Selection(saved.selection.only, tuple(sorted(labels)))
        if saved:
            refresh = refresh or saved.refreshed
            # what is foreign stays so, unless the plan that was reviewed is to take it over
            adopting = frozenset(one.gateway for one in saved.planned if one.action is Action.ADOPT)
        return Wish(
            selection,
            self.limits,
            refresh=refresh,
            adopting=adopting,
            policy_from=self.ruled.policy_from,
            policy=self.ruled.policy,
        )


def refuse_unasked(*, ask: bool) -> None:
    """Raise WrongUsage where a question is due and nobody is there to answer it."""
    if ask and not sys.stdin.isatty():
        raise WrongUsage(
            "this asks before it changes anything, and nobody can be asked here",
            "say --yes, or apply a reviewed plan: gateways apply plan.json",
        )


def refuse_unadoptable(plan: Plan, names: Iterable[str]) -> None:
    """Raise WrongUsage where one of `names` is not among the takeovers of a plan."""
    taken = {change.gateway for change in plan.changes if change.action is Action.ADOPT}
    for name in sorted({*names} - taken):
        why, hint = _why_not(plan, name)
        raise WrongUsage(f"gateway {name!r} cannot be adopted: {why}", hint)


def _why_not(plan: Plan, name: str) -> tuple[str, str]:
    """Why a plan does not take a gateway over, and what to do instead."""
    if name in plan.foreign:
        return "it is not declared", f"declare it first: gateways dump {name} --all"
    return (
        "it is ours already, or no gateway on the platform has exactly this name",
        "gateways status shows whose it is; what is only declared, gateways apply creates",
    )
