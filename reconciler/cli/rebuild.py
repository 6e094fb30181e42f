"""gateways rebuild."""

from typing import TYPE_CHECKING

import click

from reconciler.cli.buttons import Button, press
from reconciler.cli.common import Seconds, Settings, global_options, pass_settings
from reconciler.model import Action, ActualGateway

if TYPE_CHECKING:
    from reconciler.platforms import Platform, Write


@click.command("rebuild")
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--timeout",
    "seconds",
    type=Seconds(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that one gateway may take to connect.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Try once more a login that was refused so often that it is not tried again.",
)
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, names: tuple[str, ...], *, seconds: float, force: bool) -> int:
    """Drop the connection of each gateway and make it anew, with what the platform has stored.

    This is the console's Rebuilding button. To change fields, edit the declaration and apply.
    """

    async def rebuild(platform: "Platform", actual: ActualGateway, write: "Write") -> ActualGateway:
        await platform.rebuild(actual.gateway.name, write, force=force)
        return await platform.settle(actual.gateway.name, seconds=seconds)

    return press(settings, names, Button(Action.REBUILD, rebuild, lambda _: ""))
