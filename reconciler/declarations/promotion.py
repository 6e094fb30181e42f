"""A target may call a warning an error: the one place where that is done."""

from collections.abc import Iterable
from dataclasses import replace

from reconciler.model import Problem, Severity, Target


def promote(problems: Iterable[Problem], target: Target) -> Iterable[Problem]:
    """The same problems; those whose rule the target's `errors` names are errors."""
    if not target.errors:
        return problems
    return [
        replace(problem, severity=Severity.ERROR) if problem.rule in target.errors else problem
        for problem in problems
    ]
