"""gateways check."""

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    wait_for,
)
from reconciler.cli.planning import choose, stated_by
from reconciler.cli.streams import result
from reconciler.errors import ExitCode
from reconciler.model import State
from reconciler.report.safe import json_text


@click.command("check")
@click.argument("names", nargs=-1)
@click.option("--no-login", is_flag=True, help="Stop before the login; no password is needed.")
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, names: tuple[str, ...], *, no_login: bool) -> int:
    """Try the declared settings on the real mail servers, and say which field is to blame.

    Each gateway climbs a ladder: DNS, TCP, TLS chain and name, certificate expiry, capabilities,
    login. Nothing is stored and no mail is touched. Each credential is tried at most once in a
    run, so that no mailbox is locked by a wrong password. What is seen is seen from this machine.

    \b
    Examples:
      gateways check
      gateways check support-in --format json
    """
    from reconciler.report.ladder import ladders_data, ladders_text
    from reconciler.service.ladders import Ascent, climb_each
    from reconciler.service.sessions.base import Phase

    project = open_project(settings)
    target = choose_target(project, settings)
    stated = stated_by(project, target, settings, key_needed=not no_login)
    known = {one.gateway.name: one for one in stated.desired.gateways}
    chosen = [
        one
        for one in choose(known, names, settings, target)
        if names or one.gateway.state is State.CONNECTED
    ]
    up_to = Phase.CAPABILITIES if no_login else Phase.LOGIN
    ladders = wait_for(climb_each([Ascent(one.gateway, one.password, up_to) for one in chosen]))
    if settings.json:
        result(json_text(ladders_data(ladders)) + "\n")
    else:
        result(ladders_text(ladders, settings.style()))
    failed = any(not ladder.reached_the_top for ladder in ladders)
    return ExitCode.CONNECTION if failed else ExitCode.DONE
