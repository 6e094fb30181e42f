"""A checklist as one page of HTML that needs nothing else: it works from a disk, without network.

What is ticked on it stays in the browser, under the plan's digest; the record knows nothing of it.
"""

import base64
import hashlib

from markupsafe import Markup

from reconciler.report.html import page, template_file
from reconciler.report.plan import SYMBOLS, summary_text
from reconciler.report.runbook import EMPTY, LABELS_ONLY, NOTHING_TO_DO, Checklist


def checklist_html(checklist: Checklist) -> str:
    """One script and one style of ours, named by their digests: nothing else may run or load."""
    style, script = template_file("checklist.css"), template_file("checklist.js")
    return page(
        "checklist.html.j2",
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


def _digest(text: str) -> str:
    """As a policy of content names what may stand in the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
