"""A plan for a terminal."""

import re
from collections.abc import Iterator
from typing import Any, Final

from reconciler.model import (
    Action,
    Change,
    Check,
    CheckState,
    FieldChange,
    Plan,
    SecretChange,
    ref_text,
)
from reconciler.report.safe import line, log_line
from reconciler.report.style import PLAIN, Style

SYMBOLS: Final = {
    Action.CREATE: "+",
    Action.EDIT: "~",
    Action.REBUILD: "*",
    Action.DISCONNECT: "-",
    Action.ADOPT: ">",
}

_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")


def plan_text(plan: Plan, style: Style = PLAIN) -> str:
    """The whole plan: what would be done and why, what is blocked, drift, and a last line."""
    return "\n".join(_lines(plan, style)) + "\n"


def value_text(value: Any) -> str:
    """A field's value as one would write it in a declaration; nothing stands as (none).

    Of a certificate's digest the beginning is shown: enough to tell two apart.
    """
    if value is None or value == {}:
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {item}" for key, item in sorted(value.items())) + "}"
    text = str(value)
    return text[:19] + "..." if _DIGEST.fullmatch(text) else text


def check_text(check: Check) -> str:
    """What trying the connection found, on one line."""
    return line(_check_text(check))


def _check_text(check: Check) -> str:
    note = f"; {check.note}" if check.note else ""
    if check.failure:
        blame = f", field {check.failure.field}" if check.failure.field else ""
        again = "; it does not work now either" if check.before is CheckState.FAILS else ""
        failed = f"{check.state} ({check.failure.kind}{blame}): {check.failure.message}"
        return failed + again + note
    if check.state is CheckState.UNKNOWN:
        return f"{check.state}{note}"
    repaired = check.before is CheckState.FAILS
    return f"{check.state}, up to {check.rung}{'; it does not now' if repaired else ''}{note}"


def summary_text(plan: Plan) -> str:
    """One line: how many of each."""
    counts = [f"{plan.count(action)} to {action}" for action in Action if plan.count(action)] or [
        "nothing to do"
    ]
    counts.append(f"{plan.unchanged} unchanged")
    blocked = sum(change.blocked for change in plan.changes)
    if blocked:
        counts.append(f"{blocked} blocked")
    if plan.foreign:
        counts.append(f"{len(plan.foreign)} foreign")
    if plan.against:
        counts.append(
            f"compared with what {ref_text(plan.against)} declares and not with the platform"
        )
    elif not plan.secrets_compared:
        counts.append(_not_compared(plan))
    return ", ".join(counts)


def _not_compared(plan: Plan) -> str:
    """What is known of passwords where there was no key."""
    if not plan.policy_from:
        return "passwords not compared"
    unknown = sum(one.rule == "secrets-file-keys" for one in plan.warnings)
    files = "1 secrets file" if unknown == 1 else f"{unknown} secrets files"
    but = f", and not those of {files} with other keys" if unknown else ""
    return f"passwords compared with {ref_text(plan.policy_from)} only{but}"


def _lines(plan: Plan, style: Style) -> Iterator[str]:
    commit = ""
    if plan.git and plan.git.commit:
        dirty = ", with uncommitted changes" if plan.git.dirty else ""
        commit = f" at {line(plan.git.commit[:10])}{dirty}"
    yield style.bold(f"Plan for target {line(plan.target)} ({line(plan.platform)}){commit}")
    for reason in plan.blocked:
        yield style.bad(f"BLOCKED: {line(reason)}")
    yield from _policy_lines(plan, style)
    for change in plan.changes:
        yield ""
        yield from _change_lines(change, style)
    if plan.drift:
        yield ""
        yield style.bold("Drift: changed on the platform, not by a declaration")
        for change in plan.drift:
            yield from _change_lines(change, style)
    if plan.foreign:
        yield ""
        yield style.dim("Foreign, never touched: " + line(", ".join(plan.foreign)))
    yield ""
    yield style.bold(line(summary_text(plan)))


def _policy_lines(plan: Plan, style: Style) -> Iterator[str]:
    if plan.policy:
        yield ""
        kept = f"Policy is that of {line(ref_text(plan.policy_from))}; this tree would change it"
        yield style.caution(kept)
        for one in plan.policy:
            yield f"  {log_line(one.setting)}: {line(one.policy)} -> {line(one.tree)}"


def _change_lines(change: Change, style: Style) -> Iterator[str]:
    head = f"  {SYMBOLS[change.action]} {change.action} {line(change.gateway)}"
    where = f"  ({line(change.place.file)}:{change.place.line})" if change.place else ""
    yield style.action(head) + style.dim(where)
    yield f"      because: {line(change.reason)}"
    if change.blocked_by:
        yield style.bad(f"      BLOCKED: {line(change.blocked_by)}")
    if change.check:
        text = f"      check: {check_text(change.check)}"
        yield style.bad(text) if change.check.state is CheckState.FAILS else text
    width = max((len(log_line(one.field)) for one in change.fields), default=0)
    for one in change.fields:
        yield f"      {log_line(one.field):<{width}}  {_field_text(change.action, one, style)}"
    for warned in change.warnings:
        yield style.caution(f"      warning[{line(warned.rule)}]: {line(warned.message)}")


def _field_text(action: Action, one: FieldChange | SecretChange, style: Style) -> str:
    if isinstance(one, SecretChange):
        return style.caution(one.secret.value)
    after = line(value_text(one.after))
    if action is Action.CREATE:
        return after
    return f"{line(value_text(one.before))} -> {after}"
