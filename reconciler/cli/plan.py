"""gateways plan."""

from pathlib import Path

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    say,
)
from reconciler.cli.planning import (
    POLICY_FROM,
    governed,
    limits_of,
    planned_by,
    render,
    stated_by,
    verdict,
)
from reconciler.cli.streams import result
from reconciler.errors import WrongUsage


@click.command("plan")
@click.option("--out", type=click.Path(path_type=Path), help="Save the plan to this file as JSON.")
@click.option("--detailed-exitcode", is_flag=True, help="End with 2 where there are changes.")
@click.option("--refresh", is_flag=True, help="Log in again to see which sessions work now.")
@click.option("--max-disconnects", type=click.IntRange(0), help="How many removals to allow.")
@click.option("--max-reconnects", type=click.IntRange(0), help="How many remade connections.")
@POLICY_FROM
@global_options(("text", "json", "markdown", "html"))
@pass_settings
def command(  # noqa: PLR0913 - one parameter an option
    settings: Settings,
    *,
    out: Path | None,
    detailed_exitcode: bool,
    refresh: bool,
    max_disconnects: int | None,
    max_reconnects: int | None,
    policy_from: str | None,
) -> int:
    """Show what would be done and why; nothing is changed, and nothing can be.

    A change that must not be carried out stays in the plan as blocked, with its reason.

    \b
    Examples:
      gateways plan
      gateways plan -t production --out plan.json
      gateways plan --only 'support-*' --format markdown
    """
    from reconciler.engine import planfile
    from reconciler.files import write_text
    from reconciler.pipeline import Wish

    if str(out) == "-":
        raise WrongUsage("--out names a file", "to standard output: --format json")
    project = open_project(settings)
    ruled = governed(project, choose_target(project, settings), policy_from)
    target = ruled.target
    wish = Wish(
        settings.selection(target),
        limits_of(target, max_disconnects, max_reconnects),
        refresh=refresh,
        policy_from=ruled.policy_from,
        policy=ruled.policy,
    )
    stated = stated_by(project, target, settings, key_needed=False)
    plan = planned_by(project, target, stated, wish, settings).plan
    if out:
        write_text(out, planfile.to_text(plan))
        say(settings, f"saved: {out}")
    result(render(plan, settings))
    return verdict(plan, detailed=detailed_exitcode)
