"""The pages that are made from the program are those that it would make now."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from reconciler import schemas
from reconciler.declarations.catalogue import catalogue
from scripts.reference.commands import COLUMNS
from scripts.reference.markdown import code, slug, table, text
from scripts.reference.schemas import Reader
from scripts.reference_pages import PAGES

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run: make pages"


@pytest.mark.parametrize("words", [["plan"], ["token", "new"]])
def test_the_page_of_commands_has_what_help_prints(words: list[str]) -> None:
    command = [sys.executable, "-m", "reconciler", *words, "--help"]
    environment = {"COLUMNS": str(COLUMNS + 2), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    printed = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.partition("\n")[2]
    assert printed.strip("\n") in (DOCS / "commands.md").read_text()


def test_every_key_of_a_gateway_has_a_section_with_its_label_and_rule() -> None:
    page = (DOCS / "reference-declarations.md").read_text()
    for name, field in schemas.load("gateways")["$defs"]["fields"]["properties"].items():
        section = page.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        assert section, name
        assert f"console label: {field['title']}\n" in section or "title" not in field


def test_rules_that_a_page_names_are_those_of_the_catalogue() -> None:
    page = (DOCS / "reference-declarations.md").read_text()
    named = {part.partition(")")[0] for part in page.split("rules.md#")[1:]}
    assert "bad-port" in named
    assert named <= set(catalogue())


def test_every_request_of_the_api_is_there() -> None:
    page = (DOCS / "reference-api.md").read_text()
    assert "\n### PUT /v1/gateways/{name}\n" in page
    assert page.count("\n### ") > 60


SCHEMA: Final = {
    "$defs": {"short": {"type": "string", "maxLength": 9, "$comment": "bad-name"}},
    "type": "object",
    "required": ["a"],
    "properties": {
        "a": {"description": "One *a*.", "$ref": "#/$defs/short"},
        "b": {"if": {"type": "null"}, "else": {"enum": ["x", "y"]}, "default": "x"},
        "c": {"type": "array", "items": {"oneOf": [{"properties": {"d": {"const": 1}}}]}},
        "e": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
    },
}


def test_what_a_schema_says_of_its_keys() -> None:
    found = {key.path: key for key in Reader(SCHEMA).keys(SCHEMA)}
    assert {path: key.kind for path, key in found.items()} == {
        "a": "text, at most 9 characters",
        "b": "`x`, `y`",
        "c": "list of anything",
        "c[].d": "`1`",
        "e": "map of names to whole number, at least 0",
        "e.NAME": "whole number, at least 0",
    }
    assert (found["a"].required, found["b"].required) == (True, False)
    assert found["a"].comments == ("bad-name",)
    assert "One \\*a\\*." in Reader(SCHEMA).rows(list(found.values()))


def test_a_schema_that_holds_itself_ends() -> None:
    tree = {"properties": {"more": {"type": "array", "items": {"$ref": "#"}}}}
    assert [key.path for key in Reader(tree).keys(tree)] == ["more", "more[].more"]


def test_markdown_stays_what_it_was() -> None:
    assert text("a_b *c* <d> `e_f|` [g]") == r"a\_b \*c\* \<d> `e_f|` \[g\]"
    assert code("a`b") == "``a`b``"
    assert code("[a|b]") == "<code>&#91;a&#124;b&#93;</code>"
    assert table(("a", "b"), [("1", ""), ("2", "")]) == "| a |\n| --- |\n| 1 |\n| 2 |\n"
    assert table(("a",), []) == ""
    assert slug("Settings: gateways.yaml") == "settings-gatewaysyaml"
