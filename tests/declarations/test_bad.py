"""One mistake a case: `tests/bad/CASE/` is a project, `expected.txt` what is said of it, exactly.

A case without gateways.yaml has one simple embedded target. Whatever else lies in the folder is
there for the rules: certificates, secrets files. After a change of wording, look at the difference
that this writes: `UPDATE_EXPECTED=1 pytest tests/declarations/test_bad.py`, then `git diff`.
"""

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from reconciler.declarations.catalogue import catalogue
from reconciler.declarations.load import load
from reconciler.declarations.project import FILE, Project, load_project, read_project
from reconciler.declarations.validate import judge
from reconciler.errors import InvalidInput
from reconciler.model import Problem
from reconciler.report.problems import problem_text

BAD: Final = Path(__file__).resolve().parent.parent / "bad"
CASES: Final = sorted(path.name for path in BAD.iterdir() if path.is_dir())
NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
SIMPLE: Final = b"targets: {local: {platform: embedded}}\n"


def project_of(case: Path) -> Project:
    return load_project(case) if (case / FILE).exists() else read_project(SIMPLE, case)


@cache
def problems_of(case: Path) -> tuple[Problem, ...]:
    try:
        project = project_of(case)
    except InvalidInput as invalid:
        return invalid.problems
    targets = list(project.targets.values())
    return judge(project, load(case, targets[0].declarations), targets, now=NOW).problems


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_of_a_mistake(name: str) -> None:
    case = BAD / name
    problems = problems_of(case)
    said = "".join(f"{problem_text(problem)}\n" for problem in problems)
    expected = case / "expected.txt"
    if os.environ.get("UPDATE_EXPECTED"):
        expected.write_text(said)
    assert said == expected.read_text()
    assert problems, "a case holds a mistake"
    assert {problem.rule for problem in problems} <= catalogue().keys()


@pytest.mark.parametrize("name", CASES)
def test_no_password_is_repeated(name: str) -> None:
    """Every case may write this password into its files; no message may hold it."""
    assert "hunter2" not in "".join(map(repr, problems_of(BAD / name)))
