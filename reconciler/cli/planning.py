"""What plan, show and apply share: limits, how a plan is printed, and what it ends with."""

import json
from dataclasses import replace
from difflib import get_close_matches

from reconciler.cli.common import Settings, say
from reconciler.errors import ExitCode, WrongUsage
from reconciler.model import Limits, Plan, Target
from reconciler.pipeline import Planned


def limits_of(target: Target, disconnects: int | None, reconnects: int | None) -> Limits:
    """The target's budgets, with those given on the command line in their place."""
    limits = target.limits
    if disconnects is not None:
        limits = replace(limits, max_disconnects=disconnects)
    if reconnects is not None:
        limits = replace(limits, max_reconnects=reconnects)
    return limits


def refuse_no_match(planned: Planned, settings: Settings) -> None:
    """A name or label that fits nothing is a typo, not an empty plan."""
    if (settings.only or settings.labels) and not planned.desired and not planned.actual:
        asked = " ".join([*settings.only, *settings.labels])
        raise WrongUsage(
            f"no gateway matches {asked}", "gateways status lists those of the platform"
        )


def tell_keyless(planned: Planned, settings: Settings) -> None:
    if not planned.secrets_compared:
        say(
            settings,
            "note: no key to decrypt secrets is at hand, so passwords are not compared; "
            "set SOPS_AGE_KEY_FILE to compare them",
        )


def render(plan: Plan, settings: Settings) -> str:
    match settings.format:
        case "json":
            from reconciler.engine.planfile import to_data

            return json.dumps(to_data(plan), indent=2) + "\n"
        case "markdown":
            from reconciler.report.markdown import plan_markdown

            return plan_markdown(plan)
        case _:
            from reconciler.report.plan import plan_text

            return plan_text(plan, settings.style())


def verdict(plan: Plan, *, detailed: bool) -> ExitCode:
    if plan.blocked or any(change.blocked for change in plan.changes):
        return ExitCode.BLOCKED
    return ExitCode.CHANGES if detailed and plan.planned else ExitCode.DONE


def nearest(name: str, known: list[str]) -> str:
    """A hint for a name that is not known."""
    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else "gateways status lists them"
