"""gateways rebuild."""

from typing import TYPE_CHECKING

import click

from reconciler.cli.buttons import Button, press
from reconciler.cli.common import Settings, global_options, pass_settings
from reconciler.model import ActualGateway

if TYPE_CHECKING:
    from reconciler.platforms import Platform, Write


@click.command("rebuild")
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that one gateway may take to connect.",
)
@global_options(("text",))
@pass_settings
def command(settings: Settings, names: tuple[str, ...], *, seconds: float) -> int:
    """Drop the connection of each gateway and make it anew, with what the platform has stored.

    This is the console's Rebuilding button. To change fields, edit the declaration and apply.
    """

    async def rebuild(platform: "Platform", actual: ActualGateway, write: "Write") -> ActualGateway:
        await platform.rebuild(actual.gateway.name, write)
        return await platform.settle(actual.gateway.name, seconds=seconds)

    return press(settings, names, Button(rebuild, lambda _: ""))
