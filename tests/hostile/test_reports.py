"""Every report, with every string of the corpus in every place of it: all that it can do is show.

Each output is compared with the one for a harmless word: of tags and of nodes there are the same.
"""

import json
import re
from dataclasses import replace
from functools import cache
from html import unescape

import pytest

from reconciler.engine import planfile
from reconciler.errors import StalePlan
from reconciler.report import outcomes as outcomes_report
from reconciler.report import safe
from reconciler.report.checklist import checklist_html
from reconciler.report.comment import MAX_LENGTH, comment
from reconciler.report.drift import drift_data, drift_text
from reconciler.report.html import plan_html
from reconciler.report.inbox import inbox_data, inbox_text
from reconciler.report.junit import judgement_junit
from reconciler.report.ladder import ladders_data, ladders_text
from reconciler.report.markdown import plan_markdown
from reconciler.report.plan import plan_text
from reconciler.report.problems import (
    judgement_data,
    judgement_github,
    judgement_text,
    problem_text,
)
from reconciler.report.runbook import change_lines, checklist_markdown, step_lines
from reconciler.report.sarif import judgement_sarif
from reconciler.report.sent import sent_data, sent_text
from reconciler.report.status import status_data, status_text
from reconciler.report.style import COLOUR
from reconciler.report.tokens import tokens_text
from tests.hostile import everywhere
from tests.hostile.corpus import HOSTILE, SHORT
from tests.hostile.judges import (
    expect_annotations,
    expect_json,
    expect_markdown,
    expect_terminal,
    expect_xml,
    page,
)

WORD = "word"
COMMENT_TAGS = {
    "<!-- gateways ", "<details>", "</details>", "<summary>", "</summary>",
    "<sub>", "</sub>", "<code>", "</code>",
}  # fmt: skip
MARKDOWN_TAGS = {"<details>", "</details>", "<summary>", "</summary>"}

each = pytest.mark.parametrize("name", HOSTILE)
each_short = pytest.mark.parametrize("name", SHORT)


@each
def test_lines_for_people(name: str) -> None:
    """Faults A21, A22: nothing acts on a terminal, and no line is a command to a CI system."""
    text = HOSTILE[name]
    for shown in (
        plan_text(everywhere.plan(text)),
        drift_text(everywhere.drift(text)),
        judgement_text(everywhere.judgement(text)),
        problem_text(everywhere.problem(text)),
        ladders_text([everywhere.ladder(text)]),
        inbox_text(everywhere.inbox(text)),
        sent_text(everywhere.sent(text)),
        tokens_text([dict.fromkeys(TOKEN, text)]),
        *map(outcomes_report.outcome_text, everywhere.outcomes(text)),
        outcomes_report.summary_text(everywhere.outcomes(text)),
        status_text(everywhere.gateways(text), "acme"),
    ):
        expect_terminal(shown)


TOKEN = ("id", "tenant", "role", "state", "expires_at", "revoked_at", "origin", "note")


@each_short
def test_as_many_lines_as_for_a_word(name: str) -> None:
    """A21: no string adds a line, which could pass for one of ours."""
    text = SHORT[name]
    assert _lines(text) == _lines(WORD)


def _lines(text: str) -> list[int]:
    shown = (
        plan_text(everywhere.plan(text)),
        drift_text(everywhere.drift(text)),
        judgement_text(everywhere.judgement(text)),
        status_text(everywhere.gateways(text), "acme"),
        ladders_text([everywhere.ladder(text)]),
        inbox_text(everywhere.inbox(text)),
    )
    return [one.count("\n") for one in shown]


@each_short
def test_colours_are_ours(name: str) -> None:
    """A21: on a terminal too, there is no control sequence but ours."""
    text = SHORT[name]
    for shown in (
        plan_text(everywhere.plan(text), COLOUR),
        drift_text(everywhere.drift(text), COLOUR),
        judgement_text(everywhere.judgement(text), COLOUR),
        ladders_text([everywhere.ladder(text)], COLOUR),
        inbox_text(everywhere.inbox(text), COLOUR),
        sent_text(everywhere.sent(text), COLOUR),
        tokens_text([dict.fromkeys(TOKEN, text)], COLOUR),
        status_text(everywhere.gateways(text), "acme", COLOUR),
        *(outcomes_report.outcome_text(one, COLOUR) for one in everywhere.outcomes(text)),
    ):
        assert "\x1b[" in shown
        expect_terminal(re.sub(r"\x1b\[(?:0|1|2|31|32|33|36)m", "", shown))


@each
def test_json(name: str) -> None:
    """A21: it parses to what was put in, in ASCII, and no runner obeys a line of it."""
    text = HOSTILE[name]
    whole = everywhere.judgement(text)
    for data in (
        planfile.to_data(everywhere.plan(text)),
        drift_data(everywhere.drift(text)),
        judgement_data(whole),
        judgement_sarif(whole, "1.0"),
        ladders_data([everywhere.ladder(text)]),
        inbox_data(everywhere.inbox(text)),
        sent_data(everywhere.sent(text)),
        status_data(everywhere.gateways(text), "acme"),
        {"body": text, "url": None},
    ):
        assert expect_json(safe.json_text(data)) == json.loads(json.dumps(data))
    for one in everywhere.outcomes(text):
        data = outcomes_report.outcome_data(one, "now")
        assert expect_json(outcomes_report.json_line(data)) == data


@each
def test_a_comment(name: str) -> None:
    """A20: as a forge renders it there is no node, tag, mention, reference or link but ours."""
    text = HOSTILE[name]
    made = comment(everywhere.plan(text))
    assert len(made) <= MAX_LENGTH
    kinds = expect_markdown(made, tags=COMMENT_TAGS)
    if name in SHORT:
        assert kinds == _nodes_of_a_comment()
    assert made.count("<!--") == made.count("-->") == 1
    empty = comment(replace(everywhere.plan(text), changes=(), blocked=()))
    assert len(empty) <= MAX_LENGTH
    expect_markdown(empty, tags=COMMENT_TAGS)


@cache
def _nodes_of_a_comment() -> object:
    return expect_markdown(comment(everywhere.plan(WORD)), tags=COMMENT_TAGS)


@each_short
def test_markdown(name: str) -> None:
    """A20: the same holds for a job's summary."""
    made = plan_markdown(everywhere.plan(SHORT[name]))
    usual = plan_markdown(everywhere.plan(WORD))
    kinds = expect_markdown(made, tags=MARKDOWN_TAGS)
    assert kinds == expect_markdown(usual, tags=MARKDOWN_TAGS)


@each_short
def test_html(name: str) -> None:
    """A20: the same tags with the same attributes, and the string is there to be read."""
    text = SHORT[name]
    tags, attributes, words = page(plan_html(everywhere.plan(text)))
    usual_tags, usual_attributes, _ = page(plan_html(everywhere.plan(WORD)))
    assert (tags, attributes) == (usual_tags, usual_attributes)
    assert safe.line(text) in words


@each_short
def test_steps_in_a_console(name: str) -> None:
    """Faults A20, A21: on a terminal, as Markdown and as a page."""
    made, usual = everywhere.checklist(SHORT[name]), everywhere.checklist(WORD)
    runbook = made.runbooks[0]
    expect_terminal("\n".join([*change_lines(runbook), *step_lines(runbook, 1)]))
    nodes = expect_markdown(checklist_markdown(made), tags=())
    assert nodes == expect_markdown(checklist_markdown(usual), tags=())
    tags, attributes, words = page(checklist_html(made))
    assert (tags, attributes) == page(checklist_html(usual))[:2]
    assert safe.line(SHORT[name]) in words


@each_short
def test_annotations(name: str) -> None:
    """A22: one command a problem, whose message is the whole string."""
    text = SHORT[name]
    shown = expect_annotations(judgement_github(everywhere.judgement(text)), 2)
    assert all(one.startswith(safe.line(text)) for one in shown)


@each_short
def test_junit(name: str) -> None:
    tags = expect_xml(judgement_junit(everywhere.judgement(SHORT[name])))
    assert tags == expect_xml(judgement_junit(everywhere.judgement(WORD)))


@each_short
def test_sarif(name: str) -> None:
    """A20: no message is a link, and each file is a relative reference."""
    log = judgement_sarif(everywhere.judgement(SHORT[name]), "1.0")
    for one in log["runs"][0]["results"]:
        assert "](" not in one["message"]["text"].replace("\\](", "")
        uri = one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.isascii()
        assert ":" not in uri


@each
def test_messages_on_standard_error(name: str) -> None:
    """Faults A21, A22."""
    expect_terminal(safe.log_lines(f"target {HOSTILE[name]} of x"))
    expect_terminal(safe.log_lines(HOSTILE[name]))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("support-in.example.com:993", "support-in.example.com:993"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
        ("100% of 5 & 6, ~1", "100% of 5 & 6, ~\u200b1"),
        ("a@b.example #1", "a@\u200bb.example #\u200b1"),
        ("https://x", "https:\u200b//x"),
        ("UTF-8 GH-1", "UTF-8 GH-\u200b1"),
    ],
)
def test_what_can_be_copied_from_a_comment(text: str, shown: str) -> None:
    """Only where a forge would make something of it, there is a space of no width."""
    assert unescape(safe.markdown(text)) == shown


# --- a saved plan is a file, which anybody may have written


def _sealed(data: dict[str, object]) -> str:
    """As somebody writes it who knows how the digest is made."""
    digests = data["digests"]
    assert isinstance(digests, dict)
    digests["plan"] = planfile._digest_of(data)
    return json.dumps(data)


@pytest.mark.parametrize("name", ["markdown", "comment", "html", "text"])
@pytest.mark.parametrize("wrong", [5, None, [], {}, True, 1e999])
def test_a_plan_of_other_types(name: str, wrong: object) -> None:
    """A23: it is refused, or shown; no value of any field is a bug."""
    render = {"markdown": plan_markdown, "comment": comment, "html": plan_html, "text": plan_text}
    whole = json.loads(json.dumps(planfile.to_data(planfile.sealed(everywhere.plan(WORD)))))
    for key in whole:
        if key == "digests":
            continue
        _shown_or_refused({**whole, key: wrong}, render[name])
    first = whole["changes"][0]
    for key in first:
        _shown_or_refused({**whole, "changes": [{**first, key: wrong}]}, render[name])


def _shown_or_refused(data: dict[str, object], render: object) -> None:
    assert callable(render)
    try:
        plan = planfile.from_text(_sealed(data), "plan.json")
    except StalePlan:
        return
    assert render(plan)
