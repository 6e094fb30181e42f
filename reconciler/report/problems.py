"""What is wrong, for a terminal, for a program, and for GitHub's annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.model import Problem, Severity
from reconciler.report.safe import line, log_line, workflow_message, workflow_property
from reconciler.report.style import PLAIN, Style


@dataclass(frozen=True, slots=True)
class Judgement:
    """The problems of a run, and how much was looked at."""

    problems: Sequence[Problem]
    files: int
    gateways: int

    def count(self, severity: Severity) -> int:
        return sum(problem.severity is severity for problem in self.problems)


def problem_text(problem: Problem, style: Style = PLAIN) -> str:
    """`file:line:column: severity[rule]: message`, and the hint below it."""
    paint = style.bad if problem.severity is Severity.ERROR else style.caution
    head = f"{problem.severity}[{line(problem.rule)}]"
    place = log_line(str(problem.place))
    text = f"{style.bold(place)}: {paint(head)}: {line(problem.message)}"
    return f"{text}\n  hint: {line(problem.hint)}" if problem.hint else text


def judgement_text(judgement: Judgement, style: Style = PLAIN) -> str:
    lines = [problem_text(problem, style) for problem in judgement.problems]
    errors, warnings = judgement.count(Severity.ERROR), judgement.count(Severity.WARNING)
    counts = f"{_count(judgement.gateways, 'gateway')} in {_count(judgement.files, 'file')}"
    found = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    verdict = style.bad("invalid") if errors else style.good("valid")
    return "\n".join([*lines, f"{verdict}: {counts}: {found}"]) + "\n"


def judgement_data(judgement: Judgement) -> dict[str, Any]:
    return {
        "format_version": "1.0",
        "problems": [
            {
                "file": problem.place.file,
                "line": problem.place.line,
                "column": problem.place.column,
                "path": problem.path,
                "rule": problem.rule,
                "severity": problem.severity.value,
                "message": problem.message,
                "hint": problem.hint,
            }
            for problem in judgement.problems
        ],
        "summary": {
            "files": judgement.files,
            "gateways": judgement.gateways,
            "errors": judgement.count(Severity.ERROR),
            "warnings": judgement.count(Severity.WARNING),
        },
    }


def judgement_github(judgement: Judgement) -> str:
    """Workflow commands, which GitHub shows as annotations in the pull request."""
    return "".join(_annotation(problem) + "\n" for problem in judgement.problems)


def _annotation(problem: Problem) -> str:
    kind = "error" if problem.severity is Severity.ERROR else "warning"
    properties = {
        "file": problem.place.file,
        "line": str(problem.place.line),
        "col": str(problem.place.column),
        "title": problem.rule,
    }
    joined = ",".join(f"{key}={workflow_property(value)}" for key, value in properties.items())
    text = problem.message + (f" ({problem.hint})" if problem.hint else "")
    return f"::{kind} {joined}::{workflow_message(text)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
