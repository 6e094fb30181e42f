"""gateways status."""

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    say,
    wait_for,
)
from reconciler.cli.planning import choose, refreshes
from reconciler.cli.streams import result
from reconciler.model import Snapshot
from reconciler.report.safe import json_text


@click.command("status")
@click.argument("names", nargs=-1)
@click.option("--refresh", is_flag=True, help="Log in again to see which sessions work now.")
@click.option("--all", "whole", is_flag=True, help="Those that are no longer declared as well.")
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, names: tuple[str, ...], *, refresh: bool, whole: bool) -> int:
    """Gateways of the platform: their sessions, since when, and why not.

    On the embedded platform no session outlives its command, so a status is that of the last
    contact; a service elsewhere keeps sessions, and there it is that of now. --refresh logs in
    again, and stores nothing.

    Those that were disconnected because nobody declares them any longer are only counted, unless
    they are named, by --only too, or --all asks for them. JSON has them all.
    """
    from reconciler.report.status import status_data, status_text

    project = open_project(settings)
    target = choose_target(project, settings)
    refresh = refreshes(settings, target, asked=refresh)

    async def read() -> Snapshot:
        from reconciler.platforms import open_readable

        platform = open_readable(target, project.root)
        try:
            return await platform.read(refresh=refresh)
        finally:
            await platform.close()

    snapshot = wait_for(read())
    known = {one.gateway.name: one for one in snapshot.gateways}
    chosen = choose(known, names, settings, target)
    if settings.json:
        result(json_text(status_data(chosen, target.owner)) + "\n")
    else:
        whole = whole or bool(names or settings.only)
        style = settings.style()
        result(status_text(chosen, target.owner, style, told=snapshot.told, whole=whole))
        if snapshot.told:
            say(settings, f"note: as people said, by {target.record}; nobody asked the console")
    return 0
