"""`python -m reconciler` is `gateways`."""

import sys

from reconciler.cli import main

sys.exit(main())
