"""gateways plan."""

from pathlib import Path

import click

from reconciler.cli.checking import checked_by
from reconciler.cli.common import (
    NamesByOption,
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
    refreshes,
    render,
    stated_by,
    verdict,
)
from reconciler.cli.streams import result
from reconciler.errors import WrongUsage


@click.command("plan", cls=NamesByOption)
@click.option("--out", type=click.Path(path_type=Path), help="Save the plan to this file as JSON.")
@click.option("--detailed-exitcode", is_flag=True, help="End with 2 where there are changes.")
@click.option("--refresh", is_flag=True, help="Log in again to see which sessions work now.")
@click.option("--max-disconnects", type=click.IntRange(0), help="How many removals to allow.")
@click.option("--max-reconnects", type=click.IntRange(0), help="How many remade connections.")
@click.option(
    "--check",
    "rung",
    type=click.Choice(["dns", "tcp", "tls", "login"]),
    help="Try the connections that would be made, up to this rung.",
)
@POLICY_FROM
@click.option(
    "--against",
    metavar="REF",
    help="Compare with what this commit declares; the platform is not asked.",
)
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
    rung: str | None,
    policy_from: str | None,
    against: str | None,
) -> int:
    """Show what would be done and why; nothing is changed, and nothing can be.

    A change that must not be carried out stays in the plan as blocked, with its reason.

    With --check each change that makes a connection is tried from here: look-up, port, TLS with
    the certificate file, login. What works now and would fail is blocked. A password is tried only
    on hosts of the target's check_logins, and each once.

    With --policy-from and without a key, passwords are compared by what sops wrote with those of
    that commit.

    With --against the declarations of a commit stand in for the platform: no token, no key and no
    network. It shows what a pull request changes, not what an apply would find; apply refuses it.

    \b
    Examples:
      gateways plan
      gateways plan -t production --out plan.json
      gateways plan --only 'support-*' --format markdown
      gateways plan --policy-from origin/main --check tls
      gateways plan --policy-from origin/main --against origin/main
    """
    from reconciler.engine import planfile
    from reconciler.files import write_text
    from reconciler.pipeline import Wish

    if str(out) == "-":
        raise WrongUsage("--out names a file", "to standard output: --format json")
    if against and refresh:
        raise WrongUsage(
            "--refresh logs in to what the platform has, and --against does not ask the platform",
            "leave one of them out",
        )
    project = open_project(settings)
    ruled = governed(project, choose_target(project, settings), policy_from, against)
    target = ruled.target
    wish = Wish(
        settings.selection(target),
        limits_of(target, max_disconnects, max_reconnects),
        refresh=refreshes(settings, target, asked=refresh),
        policy_from=ruled.policy_from,
        policy=ruled.policy,
        against=ruled.against,
    )
    stated = stated_by(project, target, settings, key_needed=False, ruled=ruled)
    made = planned_by(project, target, stated, wish, settings)
    plan = checked_by(made, target, rung, settings) if rung else made.plan
    if out:
        write_text(out, planfile.to_text(plan))
        say(settings, f"saved: {out}")
    result(render(plan, settings))
    return verdict(plan, detailed=detailed_exitcode)
