"""gateways plan."""

from pathlib import Path

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    result,
    say,
    wait_for,
)
from reconciler.cli.planning import limits_of, refuse_no_match, render, tell_keyless, verdict


@click.command("plan")
@click.option("--out", type=click.Path(path_type=Path), help="Save the plan to this file as JSON.")
@click.option("--detailed-exitcode", is_flag=True, help="End with 2 where there are changes.")
@click.option("--refresh", is_flag=True, help="Log in again to see which sessions work now.")
@click.option("--max-disconnects", type=click.IntRange(0), help="How many removals to allow.")
@click.option("--max-reconnects", type=click.IntRange(0), help="How many remade connections.")
@global_options(("text", "json", "markdown"))
@pass_settings
def command(  # noqa: PLR0913 - one parameter an option
    settings: Settings,
    *,
    out: Path | None,
    detailed_exitcode: bool,
    refresh: bool,
    max_disconnects: int | None,
    max_reconnects: int | None,
) -> int:
    """Show what would be done and why; nothing is changed, and nothing can be.

    A change that must not be carried out stays in the plan as blocked, with its reason.

    \b
    Examples:
      gateways plan
      gateways plan -t production --out plan.json
      gateways plan --only 'support-*' --format markdown
    """
    from reconciler.clock import now
    from reconciler.engine import planfile
    from reconciler.files import write_text
    from reconciler.pipeline import Planned, Wish, make_plan
    from reconciler.platforms import open_readable

    project = open_project(settings)
    target = choose_target(project, settings)
    wish = Wish(
        now(),
        settings.selection(target),
        limits_of(target, max_disconnects, max_reconnects),
        refresh=refresh,
    )

    async def planned() -> Planned:
        platform = open_readable(target, project.root)
        try:
            return await make_plan(project, target, platform, wish)
        finally:
            await platform.close()

    made = wait_for(planned())
    refuse_no_match(made, settings)
    if out:
        write_text(out, planfile.to_text(made.plan))
        say(settings, f"saved: {out}")
    tell_keyless(made, settings)
    result(render(made.plan, settings))
    return verdict(made.plan, detailed=detailed_exitcode)
