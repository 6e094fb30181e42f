"""Measures this program against its peers and prints a table: `make bench`.

Sizes are those of docs/bench.md; --quick takes a tenth of them and three runs, for a look.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from bench.measure import Failed
from bench.peers import CHECKOUT, HERE, compile_bytecode
from bench.projects import Projects
from bench.rows import ROWS, Setup
from bench.table import Row, markdown

RESULTS = HERE / "results"


def main() -> int:
    """1 where a command failed: its row is missing then, and the others stand."""
    asked = _arguments()
    compile_bytecode(sys.executable, CHECKOUT / "reconciler", CHECKOUT / "demo", HERE)
    rows: list[Row] = []
    failed = False
    with TemporaryDirectory(prefix="gateways-bench-", ignore_cleanup_errors=True) as folder:
        projects = Projects(asked.keep or Path(folder))
        runs = asked.runs or (3 if asked.quick else 5)
        setup = Setup(projects, 10 if asked.quick else 1, runs)
        for name in asked.only or ROWS:
            start = perf_counter()
            try:
                rows += ROWS[name](setup)
            except Failed as reason:
                failed = True
                print(f"{name}: {reason}", file=sys.stderr)
            print(f"{name}: took {perf_counter() - start:.0f} s", file=sys.stderr)
    print(markdown(rows))
    print(f"\nsaved: {_save(rows, asked).relative_to(CHECKOUT)}", file=sys.stderr)
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a tenth of the sizes, three runs")
    add("--only", type=_names, help="rows, with commas: V1,P4")
    add("--runs", type=int, help="runs of each side [5]")
    add("--keep", type=Path, metavar="FOLDER", help="make the projects here, and use them again")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.upper().split(",")
    for name in names:
        if name not in ROWS:
            raise argparse.ArgumentTypeError(f"no row {name}; rows: {', '.join(ROWS)}")
    return names


def _save(rows: Sequence[Row], asked: argparse.Namespace) -> Path:
    at = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{at:%Y%m%dT%H%M%SZ}.json"
    data: dict[str, Any] = {
        "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "quick": asked.quick,
        "rows": [row.data() for row in rows],
    }
    path.write_text(json.dumps(data, indent=2) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
