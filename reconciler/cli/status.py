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
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, names: tuple[str, ...], *, refresh: bool) -> int:
    """Gateways of the platform: their sessions, since when, and why not.

    On the embedded platform no session outlives its command, so a status is that of the last
    contact; a service elsewhere keeps sessions, and there it is that of now. --refresh logs in
    again, and stores nothing.
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
        result(status_text(chosen, target.owner, settings.style(), told=snapshot.told))
        if snapshot.told:
            say(settings, f"note: as people said, by {target.record}; nobody asked the console")
    return 0
