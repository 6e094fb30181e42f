"""Every rule that code can report is documented once, and what is documented can be reported."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from reconciler.declarations.catalogue import Rule, catalogue, code, files, schema, secrets
from reconciler.declarations.rules.facts import SEVERITIES
from reconciler.report.rules import rules_page

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PACKAGE: Final = ROOT / "reconciler"
KEBAB: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")

# Words of the source that look like a slug and are none.
OTHER_WORDS: Final = frozenset({"utf-8", "utf-8-sig"})

DOCUMENTED: Final = (*files.RULES, *schema.RULES, *code.RULES, *secrets.RULES)


def words() -> Iterator[tuple[str, str]]:
    """Every string in the code about declarations that looks like a slug, with its file."""
    for path in sorted((PACKAGE / "declarations").rglob("*.py")):
        if path.parent.name == "catalogue":
            continue
        for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
            word = node.value if isinstance(node, ast.Constant) else None
            if isinstance(word, str) and KEBAB.fullmatch(word):
                yield word, str(path.relative_to(ROOT))


def test_every_slug_in_the_code_is_documented() -> None:
    known = set(catalogue()) | OTHER_WORDS
    assert [f"{file}: {word}" for word, file in words() if word not in known] == []


def test_every_documented_rule_stands_in_the_code() -> None:
    assert sorted(set(catalogue()) - {word for word, _ in words()}) == []


def test_every_slug_is_documented_once() -> None:
    assert [slug for slug, times in Counter(r.slug for r in DOCUMENTED).items() if times > 1] == []
    assert list(catalogue()) == sorted(rule.slug for rule in DOCUMENTED)


@pytest.mark.parametrize("rule", DOCUMENTED, ids=lambda rule: rule.slug)
def test_a_rule_says_what_why_and_how(rule: Rule) -> None:
    assert KEBAB.fullmatch(rule.slug)
    assert rule.title
    assert not rule.title.endswith(".")
    for text in (rule.why, rule.mend):
        assert text.endswith((".", "?"))
        assert "  " not in text
    assert all(re.fullmatch(r"[SC]\d\d", number) for number in rule.ids)


def test_every_numbered_rule_of_the_list_is_documented() -> None:
    """C36 and C38 are promises of the planner and have tests there; C31 to C35 but C33 are not."""
    numbers = {number for rule in DOCUMENTED for number in rule.ids}
    wanted = {*range(1, 31), 33, 37, 39, 40}
    assert {f"C{number:02}" for number in wanted} - numbers == set()


def test_code_takes_severities_from_the_catalogue() -> None:
    assert {slug: catalogue()[slug].severity for slug in SEVERITIES} == dict(SEVERITIES)


def test_the_page_is_the_catalogue() -> None:
    page = (ROOT / "docs/rules.md").read_text()
    assert page == rules_page(catalogue().values()), "run: python scripts/rules_page.py"


def test_the_page_is_the_same_whatever_the_order() -> None:
    assert rules_page(DOCUMENTED) == rules_page(reversed(DOCUMENTED))
