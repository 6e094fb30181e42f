"""A plan as one page of HTML that needs nothing else: a colleague opens it from a job's files."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from reconciler.model import Plan
from reconciler.report.plan import SYMBOLS, check_text, summary_text, value_text
from reconciler.report.safe import line


def plan_html(plan: Plan) -> str:
    """No script, no font, no request."""
    git = plan.git
    commit = f"{git.commit[:10]}{' (dirty)' if git.dirty else ''}" if git and git.commit else ""
    return page(
        "plan.html.j2", plan=plan, summary=summary_text(plan), commit=commit, symbols=SYMBOLS
    )


def page(template: str, **values: Any) -> str:
    """A page from one of our templates; every string is escaped, and none can hide or turn text."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(value=value_text, check=check_text)
    return environment.from_string(template_file(template)).render(values)


def template_file(name: str) -> str:
    return files("reconciler.report").joinpath("templates", name).read_text("utf-8")


def _visible(value: Any) -> Any:
    return line(value) if type(value) is str else value
