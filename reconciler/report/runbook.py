"""A plan's changes as the steps that somebody takes in a console: for a terminal, and as Markdown.

No password is ever in them: a step says whose password is to be typed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.model import ConsoleField, Plan, Runbook, Step, Tick
from reconciler.report.plan import SYMBOLS, summary_text
from reconciler.report.safe import code, line, markdown
from reconciler.report.style import PLAIN, Style

LABELS_ONLY: Final = "Recorded only, the console has no such field"
EMPTY: Final = "(empty)"
NOTHING_TO_DO: Final = "Nothing to do in the console."

Ticked = Mapping[tuple[str, str], Tick]
"""What was ticked, by the digest of its change and the title of the step."""


@dataclass(frozen=True, slots=True)
class Checklist:
    """All that a checklist is made of; `done` is the command that ticks a gateway's steps."""

    plan: Plan
    runbooks: Sequence[Runbook]
    ticked: Ticked
    record: str
    done: str


def ticked_by(ticks: Sequence[Tick]) -> Ticked:
    """What counts for a change that is half done: ticks of the very same change.

    Those before it was carried out whole are spent: if it is to be made again, because somebody
    took it back from the record, it begins at its first step.
    """
    found: dict[tuple[str, str], Tick] = {}
    spent = set()
    for one in reversed(ticks):
        if one.changes is not None:
            spent.add(one.change)
        elif one.change not in spent:
            found.setdefault((one.change, one.title), one)
    return dict(reversed(found.items()))


def where(step: Step) -> str:
    """The way to a step: the menu, the button, the tab."""
    press = [f"press {step.button}"] if step.button else []
    tab = [f"tab {step.tab}"] if step.tab else []
    return ", ".join([" > ".join(step.menu), *press, *tab])


def secret_text(secret: str) -> str:
    return f"type the password of secret {secret}"


def field_text(one: ConsoleField) -> str:
    """What to put under a label, for a terminal."""
    if one.secret:
        return line(secret_text(one.secret))
    value = line(one.value) or EMPTY
    return value if one.before is None else f"{line(one.before) or EMPTY} -> {value}"


def change_lines(runbook: Runbook, style: Style = PLAIN) -> Iterator[str]:
    """What a change is about, before its steps."""
    change = runbook.change
    head = f"{SYMBOLS[change.action]} {change.action} {line(change.gateway)}"
    yield style.action(head) + style.dim(f"  because: {line(change.reason)}")
    if runbook.recorded:
        yield f"  {LABELS_ONLY}: {', '.join(runbook.recorded)}"
    if not runbook.steps:
        yield f"  {NOTHING_TO_DO}"


def step_lines(runbook: Runbook, number: int, style: Style = PLAIN) -> Iterator[str]:
    """One step for a terminal; steps count from 1."""
    step = runbook.steps[number - 1]
    yield style.bold(f"  Step {number} of {len(runbook.steps)}: {step.title}")
    yield f"    {where(step)}"
    if step.find:
        yield f"    in the row of {line(step.find)}"
    width = max((len(one.label) for one in step.fields), default=0)
    for one in step.fields:
        yield f"      {one.label:<{width}}  {field_text(one)}"
    if step.then:
        yield f"    then {step.then}"
    if step.looks:
        yield "    then look at what status it shows"
    for note in step.notes:
        yield style.dim(f"    note: {note}")


def checklist_markdown(checklist: Checklist) -> str:
    """Every change that is planned as a list to tick off; what is ticked already is so."""
    return "\n".join(_markdown(checklist)) + "\n"


def _markdown(checklist: Checklist) -> Iterator[str]:
    plan = checklist.plan
    yield f"# Console steps for target {code(plan.target)}"
    yield ""
    yield f"{markdown(summary_text(plan))}. Printing this ticks nothing."
    for number, one in enumerate(checklist.runbooks, 1):
        yield ""
        yield from runbook_markdown(number, one, checklist.ticked)
    for change in plan.changes:
        if change.blocked_by:
            yield ""
            yield f"**Blocked:** {code(change.gateway)}: {code(change.blocked_by)}"
    if checklist.runbooks:
        yield ""
        yield "## When it is done"
        yield ""
        for one in checklist.runbooks:
            yield f"- {code(f'{checklist.done} {one.change.gateway}')}"
        yield ""
        yield f"Then commit the record, {code(checklist.record)}."


def runbook_markdown(number: int, runbook: Runbook, ticked: Ticked) -> Iterator[str]:
    """One change and its steps, as lines of Markdown."""
    change = runbook.change
    yield f"## {number}. {change.action.capitalize()} {code(change.gateway)}"
    yield ""
    yield f"Because: {code(change.reason)}"
    if runbook.recorded:
        yield ""
        yield f"{LABELS_ONLY}: {', '.join(map(code, runbook.recorded))}"
    yield ""
    if not runbook.steps:
        yield NOTHING_TO_DO
    for step in runbook.steps:
        yield from _step_markdown(step, ticked.get((runbook.digest, step.title)))


def _step_markdown(step: Step, tick: Tick | None) -> Iterator[str]:
    by = f" (ticked by {code(tick.actor)} at {code(tick.at)})" if tick else ""
    yield f"- [{'x' if tick else ' '}] **{step.title}**: {where(step)}{by}"
    if step.find:
        yield f"  - in the row of {code(step.find)}"
    for one in step.fields:
        yield f"  - {one.label}: {_field_markdown(one)}"
    if step.then:
        yield f"  - then **{step.then}**"
    if step.looks:
        yield "  - then look at what status it shows"
    for note in step.notes:
        yield f"  - *{note}*"


def _field_markdown(one: ConsoleField) -> str:
    if one.secret:
        return f"*type the password of secret {code(one.secret)}*"
    value = code(one.value) if one.value else EMPTY
    if one.before is None:
        return value
    return f"{code(one.before) if one.before else EMPTY} → {value}"
