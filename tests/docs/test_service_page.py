"""What docs/service.md says of options and limits is what the program has."""

import re
from pathlib import Path
from typing import Final

from reconciler.cli.serve import command
from reconciler.cli.serving import API_SHARE, SPARE_FILES
from reconciler.service.database import BUSY_SECONDS
from reconciler.service.sessions.addresses import MAIL_PORTS

PAGE: Final = (Path(__file__).parents[2] / "docs/service.md").read_text()
OPTIONS: Final = {name for option in command.params for name in option.opts}


def test_every_option_is_listed_and_no_other() -> None:
    rows = re.findall(r"^\| (`-.*?) \|", PAGE, re.MULTILINE)
    listed = {option for row in rows for option in re.findall(r"`(--?[a-z-]+)`", row)}
    everywhere = {"-C", "-l", "-q", "--no-color", "--only", "--format", "-t", "--target"}
    assert listed <= OPTIONS
    assert {one for one in OPTIONS - listed if len(one) > 2} <= {
        *everywhere,
        "--quiet",
        "--verbose",
    }


def test_the_unit_uses_options_that_exist() -> None:
    unit = PAGE.partition("```ini\n")[2].partition("```")[0]
    start = re.search(r"^ExecStart=(.*?[^\\])$", unit, re.MULTILINE | re.DOTALL)
    assert start
    used = set(re.findall(r" (--[a-z-]+)", start[1]))
    assert len(used) == 5
    assert used <= OPTIONS


def test_limits() -> None:
    assert ", ".join(str(port) for port in sorted(MAIL_PORTS)) in " ".join(PAGE.split())
    assert f"after {BUSY_SECONDS:g} seconds" in PAGE
    assert API_SHARE == 4
    assert "a quarter of them" in PAGE
    assert f"{SPARE_FILES} are kept for the database" in PAGE
