"""`python -m reconciler` is `gateways`."""

import os
import sys

# Python looks for modules in the working folder first, and that is a pull request's tree. Without
# pathlib, which could itself be a file of that tree.
_HERE = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
if not sys.flags.safe_path and sys.path[0] != _HERE:
    del sys.path[0]

from reconciler.cli import program  # noqa: E402 - see above

program()
