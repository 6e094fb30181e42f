"""gateways disconnect."""

from typing import TYPE_CHECKING

import click

from reconciler.cli.buttons import Button, press
from reconciler.cli.common import Settings, global_options, pass_settings
from reconciler.model import Action, ActualGateway, Cause

if TYPE_CHECKING:
    from reconciler.platforms import Platform, Write


@click.command("disconnect")
@click.argument("names", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Disconnect it even if it is protected.")
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, names: tuple[str, ...], *, force: bool) -> int:
    """Cut off each gateway until it is rebuilt or applied again.

    This is the console's Disconnected button. The next plan proposes to rebuild what was
    disconnected by hand; to keep it off, declare `state: disconnected`.
    """

    async def disconnect(
        platform: "Platform", actual: ActualGateway, write: "Write"
    ) -> ActualGateway:
        return await platform.disconnect(actual.gateway.name, write, cause=Cause.BY_HAND)

    def refuse(actual: ActualGateway) -> str:
        if actual.gateway.protect and not force:
            return "it is protected; --force disconnects it all the same"
        return ""

    return press(settings, names, Button(Action.DISCONNECT, disconnect, refuse))
