"""A plan as Markdown, for a pull request or a job's summary."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from reconciler.model import Change, Plan, SecretChange
from reconciler.report.plan import check_text, summary_text, value_text
from reconciler.report.safe import markdown


def plan_markdown(plan: Plan) -> str:
    """The table first, details folded; every string of a user is escaped."""
    # not HTML: every value goes through the md filter, which escapes for Markdown and HTML
    environment = Environment(  # noqa: S701
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters.update(md=markdown, value=value_text, password=_password, check=check_text)
    source = files("reconciler.report").joinpath("templates/plan.md.j2").read_text("utf-8")
    git = plan.git
    commit = f"{git.commit[:10]}{' (dirty)' if git.dirty else ''}" if git and git.commit else ""
    return environment.from_string(source).render(
        plan=plan, state=_state(plan), summary=summary_text(plan), commit=commit
    )


def _state(plan: Plan) -> str:
    if plan.blocked or any(change.blocked for change in plan.changes):
        return "BLOCKED"
    return "CHANGES" if plan.changes else "NO CHANGES"


def _password(change: Change) -> str:
    return next((one.secret.value for one in change.fields if isinstance(one, SecretChange)), "")
