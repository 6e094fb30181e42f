"""The steps of a runbook, with every string of the corpus in every place of them."""

import pytest

from reconciler.model import ConsoleField, Runbook, Step, Tick
from reconciler.report import safe
from reconciler.report.checklist import checklist_html
from reconciler.report.runbook import (
    Checklist,
    change_lines,
    checklist_markdown,
    step_lines,
    ticked_by,
)
from tests.hostile import everywhere
from tests.hostile.corpus import HOSTILE, SHORT
from tests.hostile.judges import expect_markdown, expect_terminal, page

WORD = "word"


def checklist(text: str) -> Checklist:
    fields = (
        ConsoleField("host", "Host", text, text),
        ConsoleField("user_password", "User Password", "", secret=text),
    )
    step = Step("Edit its address", ("Gateways",), text, "Edit", "Address", fields, "Save")
    plan = everywhere.plan(text)
    runbooks = [Runbook(one, (step, step), ("labels",), "sha256:c") for one in plan.changes]
    change = plan.changes[0]
    tick = Tick(text, text, text, text, text, change.action, "sha256:c", 1, 2, text)
    return Checklist(plan, runbooks, ticked_by([tick]), text, text)


@pytest.mark.parametrize("name", HOSTILE)
def test_steps_on_a_terminal(name: str) -> None:
    """Faults A21, A22: nothing acts on a terminal, and no line is a command to a CI system."""
    for runbook in checklist(HOSTILE[name]).runbooks:
        expect_terminal("\n".join(change_lines(runbook)))
        expect_terminal("\n".join(step_lines(runbook, 1)))


@pytest.mark.parametrize("name", SHORT)
def test_steps_as_markdown(name: str) -> None:
    """A20: as many nodes of each kind as for a harmless word."""
    text = SHORT[name]
    found = expect_markdown(checklist_markdown(checklist(text)), tags=())
    assert found == expect_markdown(checklist_markdown(checklist(WORD)), tags=())


@pytest.mark.parametrize("name", SHORT)
def test_steps_as_a_page(name: str) -> None:
    """A20: the same tags with the same attributes, and the string is there to be read."""
    text = SHORT[name]
    tags, attributes, words = page(checklist_html(checklist(text)))
    usual_tags, usual_attributes, _ = page(checklist_html(checklist(WORD)))
    assert (tags, attributes) == (usual_tags, usual_attributes)
    assert safe.line(text) in words
