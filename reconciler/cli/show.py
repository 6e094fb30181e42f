"""gateways show."""

from pathlib import Path

import click

from reconciler.cli.common import Settings, global_options, pass_settings
from reconciler.cli.planning import render, verdict
from reconciler.cli.streams import result
from reconciler.errors import WrongUsage


@click.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--detailed-exitcode", is_flag=True, help="End with 2 where there are changes.")
@global_options(("text", "json", "markdown", "html"))
@pass_settings
def command(settings: Settings, file: Path, *, detailed_exitcode: bool) -> int:
    """Show a saved plan again; needs no project, no key and no network."""
    from reconciler.engine.planfile import from_text

    plan = from_text(read_plan(file), file.name)
    result(render(plan, settings))
    return verdict(plan, detailed=detailed_exitcode)


def read_plan(file: Path, hint: str = "") -> str:
    """The text of a saved plan. Raises WrongUsage with `hint`."""
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read: {error.strerror}", hint) from None
