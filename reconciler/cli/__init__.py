"""The command line: the only place that prints. One module a command, imported when it is used."""

from reconciler.cli.border import run


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return run(arguments)
