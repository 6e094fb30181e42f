"""What the pages list is what the program has: keys, exit codes, commands."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from reconciler import schemas
from reconciler.cli.root import COMMANDS, EPILOG
from reconciler.errors import ExitCode
from reconciler.platforms import PLATFORMS

ROOT: Final = Path(__file__).resolve().parent.parent.parent
DOCS: Final = ROOT / "docs"


def section(page: str, heading: str) -> str:
    text = (DOCS / page).read_text()
    return re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], flags=re.MULTILINE)[0]


def listed(text: str) -> set[str]:
    """The first column of its tables, where it is code."""
    return {key for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for key in names(row)}


def names(cell: str) -> list[str]:
    return re.findall(r"`([a-z_]+)`", cell)


def definition(schema: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schemas.load(schema)["$defs"][name]["properties"]
    return found


def test_keys_of_a_gateway() -> None:
    assert listed(section("declarations.md", "Keys of a gateway")) == set(
        definition("gateways", "gateway")
    )


def test_keys_of_a_file() -> None:
    assert listed(section("declarations.md", "Keys of a file")) == set(
        definition("gateways", "file")
    )


def test_keys_of_the_settings() -> None:
    settings, _, target = section("declarations.md", "Settings: gateways.yaml").partition(
        "Keys of a target"
    )
    assert listed(settings) == set(schemas.load("project")["properties"])
    assert listed(target) == set(definition("project", "target"))


def test_defaults_of_a_gateway() -> None:
    """Every default that the page shows as code is the one of the schema, and the other way."""
    rows = re.findall(
        r"^\| `([a-z_]+)` \| .* \| `([^`]+)` \|$",
        section("declarations.md", "Keys of a gateway"),
        re.MULTILINE,
    )
    fields = definition("gateways", "fields")
    shown = {key: default for key, default in rows if "default" in fields[key]}
    wanted = {
        key: str(default).lower() if isinstance(default, bool) else str(default)
        for key, field in fields.items()
        if (default := field.get("default")) is not None
    }
    assert wanted == shown


def test_exit_codes_everywhere() -> None:
    codes = {code.value for code in ExitCode}
    page = re.findall(r"^\| (\d+) \|", (DOCS / "exit-codes.md").read_text(), re.MULTILINE)
    assert {int(code) for code in page} == codes
    assert {int(code) for code in re.findall(r"^  (\d+) ", EPILOG, re.MULTILINE)} == codes
    readme = (ROOT / "README.md").read_text().partition("## Exit codes")[2].partition("##")[0]
    assert {int(code) for code in re.findall(r"(?:^|· |·\n)(\d+) ", readme, re.MULTILINE)} == codes


def test_the_readme_lists_every_command_and_platform() -> None:
    text = (ROOT / "README.md").read_text()
    row = re.findall(r"^\| commands \| (.*?) \|$", text, re.MULTILINE)[0]
    assert set(names(row)) == set(COMMANDS)
    platforms = re.findall(r"^\| platform `(.*?)` \|", text, re.MULTILINE)
    assert set(platforms) == set(PLATFORMS)


def test_pages_name_only_commands_that_exist() -> None:
    for page in [ROOT / "README.md", *DOCS.glob("*.md")]:
        for command in re.findall(r"^(?:\$ )?gateways ([a-z]+)", page.read_text(), re.MULTILINE):
            assert command in COMMANDS, f"{page.name}: gateways {command}"
