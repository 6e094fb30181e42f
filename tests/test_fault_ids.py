"""Every fault of docs/faults.md has a test that exists, or a reason why it has none yet."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
PAGE: Final = TESTS.parent / "docs/faults.md"
ROW: Final = re.compile(r"\| ([APG]\d+) \| (.+) \| (.+) \| (.+) \|")
TEST: Final = re.compile(r"`([\w/.]+)::(\w+)`")
CONCERNS: Final = [
    *(f"A{number}" for number in range(1, 43)),
    *(f"P{number}" for number in range(1, 32)),
    *(f"G{number}" for number in range(1, 43)),
]
ROWS: Final = [
    match.groups() for match in map(ROW.fullmatch, PAGE.read_text().splitlines()) if match
]


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of all functions of a file, those of its classes among them."""
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_fault_of_this_version_is_listed_once_and_in_order() -> None:
    assert [row[0] for row in ROWS] == CONCERNS


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_fault_has_tests_that_exist_or_a_reason(row: tuple[str, str, str, str]) -> None:
    _, _, then, tests = row
    if not TEST.search(tests):
        assert then.startswith("does not apply")
        return
    assert TEST.sub("", tests).strip(", ") == "", "nothing but tests"
    for file, name in TEST.findall(tests):
        assert name.startswith("test_")
        assert name in names_in(TESTS / file), f"{file} has no {name}"


def test_the_check_can_fail() -> None:
    assert "test_no_such_test" not in names_in(Path(__file__))
    assert "test_the_check_can_fail" in names_in(Path(__file__))


def test_every_id_in_a_test_is_one_of_the_page() -> None:
    """A docstring that names a fault names one that is listed, or one of a later version."""
    known = re.compile(
        r"(?:A(?:[1-9]|[1-3]\d|4[0-2])|P(?:[1-9]|[12]\d|3[01])|G(?:[1-9]|[1-3]\d|4[0-2]))"
    )
    for path in TESTS.rglob("test_*.py"):
        for found in re.findall(r"(?:\"\"\"|Faults )((?:[APG]\d+(?:, |: |\.))+)", path.read_text()):
            for one in re.findall(r"[APG]\d+", found):
                assert known.fullmatch(one), f"{path.name} names {one}"
