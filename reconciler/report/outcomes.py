"""What becomes of an apply: lines for people as it happens, JSON lines for programs."""

from collections.abc import Sequence
from typing import Any

from reconciler.model import Change, Outcome, Result
from reconciler.report.plan import SYMBOLS
from reconciler.report.safe import json_text, line
from reconciler.report.style import PLAIN, Style


def outcome_text(outcome: Outcome, style: Style = PLAIN) -> str:
    change = outcome.change
    paint = {Result.DONE: style.good, Result.FAILED: style.bad, Result.SKIPPED: style.caution}
    word = paint[outcome.result](outcome.result.value)
    head = f"  {SYMBOLS[change.action]} {change.action} {line(change.gateway)}: {word}"
    if not outcome.message:
        return head
    failure = outcome.failure
    blame = f"{failure.kind}, field {failure.field}: " if failure and failure.field else ""
    text = f"{head}: {line(blame + outcome.message)}"
    return f"{text}\n      hint: {line(outcome.hint)}" if outcome.hint else text


def summary_text(outcomes: Sequence[Outcome], style: Style = PLAIN) -> str:
    counts = {result: _count(outcomes, result) for result in Result}
    paint = style.bad if counts[Result.FAILED] else style.good
    return paint(", ".join(f"{count} {result}" for result, count in counts.items())) + "\n"


def started_data(change: Change, at: str) -> dict[str, Any]:
    return {
        "type": "change_start",
        "at": at,
        "gateway": change.gateway,
        "action": change.action.value,
    }


def outcome_data(outcome: Outcome, at: str) -> dict[str, Any]:
    done = outcome.result is Result.DONE
    failure = outcome.failure
    data: dict[str, Any] = {
        "type": "change_done" if done else "change_failed",
        "at": at,
        "gateway": outcome.change.gateway,
        "action": outcome.change.action.value,
        "message": outcome.message,
    }
    if not done:
        data["result"] = outcome.result.value
        data["written"] = outcome.written
        data["kind"] = failure.kind.value if failure else None
        data["field"] = failure.field if failure else None
        data["hint"] = outcome.hint
    return data


def summary_data(outcomes: Sequence[Outcome], at: str) -> dict[str, Any]:
    return {
        "type": "summary",
        "at": at,
        **{result.value: _count(outcomes, result) for result in Result},
        "gateways": [
            {
                "gateway": one.change.gateway,
                "action": one.change.action.value,
                "result": one.result.value,
                "message": one.message,
            }
            for one in sorted(outcomes, key=lambda one: one.change.gateway)
        ],
    }


def json_line(data: dict[str, Any]) -> str:
    return json_text(data, indent=None)


def _count(outcomes: Sequence[Outcome], result: Result) -> int:
    return sum(one.result is result for one in outcomes)
