"""gateways schema."""

import click

from reconciler import schemas
from reconciler.cli.common import global_options
from reconciler.cli.streams import result
from reconciler.errors import WrongUsage


@click.command("schema")
@click.argument("name", required=False, default="gateways")
@global_options(("text", "json"))
def command(name: str) -> int:
    """Print a schema: `gateways` for declarations, `project` for gateways.yaml, and others.

    The declarations' schema carries the console's labels and descriptions, so that an editor shows
    them while one types. The schemas of all that is printed as JSON are here too.
    """
    if name not in schemas.names():
        known = ", ".join(schemas.names())
        raise WrongUsage(f"there is no schema {name!r}", f"there are: {known}")
    result(schemas.text(name))
    return 0
