"""The command line: the only place that prints. One module a command, imported when it is used."""

import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from reconciler.cli.border import run


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return run(arguments)


def program() -> NoReturn:
    """The process `gateways`: run one command and end.

    At once, since nothing is left to do: Python would spend 25 ms on taking itself apart, and a
    tenth of a second where there are 10,000 gateways. Meanwhile garbage is looked for seldom:
    nearly all that a command makes stays until its end, and looking costs a tenth of a large plan.
    """
    gc.set_threshold(100_000)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
