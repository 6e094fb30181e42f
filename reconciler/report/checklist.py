"""A checklist as one page of HTML that needs nothing else: it works from a disk, without network.

What is ticked on it stays in the browser, under the plan's digest; the record knows nothing of it.
"""

import base64
import hashlib
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from reconciler.report.plan import SYMBOLS, summary_text
from reconciler.report.runbook import EMPTY, LABELS_ONLY, NOTHING_TO_DO, Checklist
from reconciler.report.safe import line

_TEMPLATES: Final = "templates"


def checklist_html(checklist: Checklist) -> str:
    """One script and one style of ours, named by their digests: nothing else may run or load."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style, script = _file("checklist.css"), _file("checklist.js")
    return environment.from_string(_file("checklist.html.j2")).render(
        checklist=checklist,
        plan=checklist.plan,
        summary=summary_text(checklist.plan),
        symbols=SYMBOLS,
        labels_only=LABELS_ONLY,
        nothing_to_do=NOTHING_TO_DO,
        empty=EMPTY,
        style=Markup(style),  # noqa: S704 - ours, and no word of a user in it
        script=Markup(script),  # noqa: S704
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'",
    )


def _file(name: str) -> str:
    return files("reconciler.report").joinpath(f"{_TEMPLATES}/{name}").read_text("utf-8")


def _digest(text: str) -> str:
    """As a policy of content names what may stand in the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _visible(value: Any) -> Any:
    return line(value) if type(value) is str else value
