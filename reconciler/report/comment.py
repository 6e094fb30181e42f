"""The comment on a pull request: what will happen to which mailbox, for a reader in a hurry.

Made from a saved plan alone. Every string of a user is escaped; the whole stays below what forges
accept, and what is cut is said. The table of changes is never cut before the details are.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from reconciler.model import (
    CONNECTION_FIELDS,
    Action,
    Change,
    CheckState,
    FieldChange,
    Plan,
    SecretChange,
    ref_text,
)
from reconciler.report.plan import SYMBOLS, check_text, summary_text, value_text
from reconciler.report.safe import markdown, marker_name

MAX_LENGTH: Final = 60_000
"""Characters; GitHub refuses a comment of more than 65,536, and counts some of them twice."""

_OF_SECRETS: Final = frozenset({"secrets-file-keys", "secrets-file-older"})
_MAX_DANGERS: Final = 8_000
_MAX_REASON: Final = 1_000
_MAX_VALUE: Final = 1_000
_MAX_NAME: Final = 200
_ROOM_TO_SAY_SO: Final = 300
_DATE: Final = len("2026-11-22")


def marker(target: str) -> str:
    """What the comment of a target begins with, so that it is found again and replaced."""
    return f"<!-- gateways plan: {marker_name(target[:_MAX_NAME])} -->"


def md(text: str, most: int = _MAX_VALUE) -> str:
    """Escaped, which makes it longer, and never more than `most` characters of it."""
    return markdown(text if len(text) <= most else text[: most - 1] + "…")


def _name(text: str) -> str:
    """What stands outside of the parts that are cut, and so is short by itself."""
    return md(text, _MAX_NAME)


def comment(plan: Plan, *, limit: int = MAX_LENGTH) -> str:
    """The whole comment, `limit` characters at most."""
    head = "\n\n".join(_head(plan))
    foot = "\n\n".join(_foot(plan))
    left = limit - len(head) - len(foot) - _ROOM_TO_SAY_SO
    rows, hidden_rows = _fitting(list(map(_row, plan.changes)), left - len(_TABLE))
    table = _TABLE + "".join(rows) if rows else ""
    left -= len(table)
    details, hidden = _fitting([*map(_details, filter(_has_details, plan.changes))], left)
    left -= sum(map(len, details))
    drift, hidden_drift = _fitting([_drift(plan)] if plan.drift else [], left)
    parts = [head]
    if table:
        parts.append(table.rstrip("\n"))
    if hidden_rows:
        parts.append(f"**{hidden_rows} more changes do not fit here**: see the saved plan.")
    parts.extend(part.rstrip("\n") for part in (*details, *drift))
    if hidden:
        parts.append(f"_The details of {hidden} changes do not fit here: see the saved plan._")
    if hidden_drift:
        parts.append("_The drift does not fit here: `gateways drift` shows it._")
    parts.append(foot)
    return "\n\n".join(parts) + "\n"


def _head(plan: Plan) -> Iterator[str]:
    yield f"{marker(plan.target)}\n## Email gateways: {_name(plan.target)}: {_title(plan)}"
    yield _sentence(plan)
    dangers, hidden = _fitting([f"> - {danger}\n" for danger in _dangers(plan)], _MAX_DANGERS)
    if hidden:
        dangers.append(f"> - and {hidden} more, in the table\n")
    if dangers:
        yield "> [!CAUTION]\n" + "".join(dangers).rstrip("\n")


def _title(plan: Plan) -> str:
    if not plan.complete:
        return "incomplete"
    blocked = sum(change.blocked for change in plan.changes)
    planned = len(plan.planned)
    if plan.blocked or (blocked and not planned):
        return "blocked"
    if blocked:
        return f"{_count(planned, 'change')}, {blocked} blocked"
    return _count(planned, "change") if planned else "no changes"


def _sentence(plan: Plan) -> str:
    if plan.blocked:
        return "**Nothing can be applied:** " + md("; ".join(plan.blocked), _MAX_REASON)
    if plan.against and not plan.changes:
        return (
            f"This declares the same {_count(plan.unchanged, 'gateway')} as "
            f"{md(ref_text(plan.against))}; the platform was not asked."
        )
    if not plan.changes:
        return f"Once merged, apply does nothing: {_count(plan.unchanged, 'gateway')} as declared."
    words = [f"**{action}** {plan.count(action)}" for action in Action if plan.count(action)]
    remade = sum(change.reconnects for change in plan.planned)
    done = "Once merged, apply will " + _listed(words) if words else "Apply will do nothing"
    if remade:
        done += f"; {_count(remade, 'connection')} made anew"
    return f"{done}. {_name(summary_text(plan))}."


def _dangers(plan: Plan) -> Iterator[str]:
    """What a reviewer must not overlook, the worst first."""
    for change in plan.changes:
        if change.blocked_by:
            yield f"{md(change.gateway)} is **blocked**: {md(change.blocked_by)}"
    for change in plan.planned:
        if change.action is Action.DISCONNECT:
            yield f"{md(change.gateway)} is **disconnected**: {md(change.reason)}"
    for policy in plan.policy:
        yield (
            f"policy **{md(policy.setting)}** changes with this: "
            f"{md(policy.policy)} → {md(policy.tree)}; "
            f"this plan keeps to {md(ref_text(plan.policy_from))}"
        )
    for warning in plan.warnings:
        if warning.rule in _OF_SECRETS:
            yield f"secrets file **{md(warning.place.file)}**: {md(warning.message)}"
    edits = [change for change in plan.planned if change.action is Action.EDIT]
    fields = [(change, one) for change in edits for one in change.fields]
    yield from filter(None, (_danger(change, one) for change, one in fields))


def _danger(change: Change, one: FieldChange | SecretChange) -> str:
    """An edited field that takes a protection away, or leads a connection elsewhere."""
    if isinstance(one, SecretChange):
        return ""
    name = md(change.gateway)
    if one.field == "protect" and not one.after:
        return f"{name} loses its **protection** against disconnects"
    if one.field in CONNECTION_FIELDS:
        before, after = md(value_text(one.before)), md(value_text(one.after))
        return f"{name} connects with another **{one.field}**: {before} → {after}"
    return ""


_TABLE: Final = (
    "| | gateway | action | why | password | certificate until | check |\n"
    "|---|---|---|---|---|---|---|\n"
)


def _row(change: Change) -> str:
    state = "⛔" if change.blocked else f"`{SYMBOLS[change.action]}`"
    expires = md((change.certificate_expires or "")[:_DATE])
    found = check_text(change.check) if change.check else ""
    if change.check and change.check.state is CheckState.FAILS:
        found = f"**{md(found)}**"
    else:
        found = md(found)
    why = md(change.reason) + (
        f" **blocked:** {md(change.blocked_by)}" if change.blocked_by else ""
    )
    action = change.action.value + (" and reconnect" if change.reconnects else "")
    return (
        f"| {state} | {md(change.gateway)} | {action} | {why} | {_password(change)} "
        f"| {expires} | {found} |\n"
    )


def _password(change: Change) -> str:
    return next((one.secret.value for one in change.fields if isinstance(one, SecretChange)), "")


def _has_details(change: Change) -> bool:
    return bool(change.fields or change.warnings)


def _details(change: Change) -> str:
    where = f" ({md(change.place.file)}, line {change.place.line})" if change.place else ""
    lines = [
        f"<details><summary>{change.action.value} {md(change.gateway)}{where}</summary>",
        "",
        *_fields(change),
        *(f"- warning {md(one.rule)}: {md(one.message)}" for one in change.warnings),
        "",
        "</details>",
        "",
        "",
    ]
    return "\n".join(lines)


def _fields(change: Change) -> Iterator[str]:
    if not change.fields:
        return
    yield "| field | before | after |"
    yield "|---|---|---|"
    for one in change.fields:
        if isinstance(one, SecretChange):
            yield f"| {md(one.field)} | | {one.secret.value} |"
        else:
            before, after = md(value_text(one.before)), md(value_text(one.after))
            yield f"| {md(one.field)} | {before} | {after} |"
    yield ""


def _drift(plan: Plan) -> str:
    rows = [
        f"| {md(change.gateway)} | {md(one.field)} | {md(value_text(one.before))} "
        f"| {md(value_text(one.after))} |"
        for change in plan.drift
        for one in change.fields
        if isinstance(one, FieldChange)
    ]
    head = "| gateway | field | last applied | now |\n|---|---|---|---|\n"
    title = "<details><summary>Drift: changed on the platform, not by this</summary>\n\n"
    return title + head + "\n".join(rows) + "\n\n</details>\n\n"


def _foot(plan: Plan) -> Iterator[str]:
    if plan.foreign:
        yield f"Foreign, never touched: {len(plan.foreign)}."
    commit = ""
    if plan.git and plan.git.commit:
        commit = f" at commit {_name(plan.git.commit[:10])}" + (
            " (dirty)" if plan.git.dirty else ""
        )
    tool = f"gateways {_name(plan.tool_version)}"
    yield (
        f"Next: <code>gateways plan -t {_name(plan.target)} --out plan.json</code>, then after the "
        f"merge <code>gateways apply -t {_name(plan.target)}</code>."
    )
    planned = f"planned {_name(plan.created_at)} by {tool}"
    yield f"<sub>{_name(summary_text(plan))}{commit}, {planned}</sub>"


def _fitting(parts: Sequence[str], room: int) -> tuple[list[str], int]:
    """As many whole parts, from the first one on, as there is room for; and how many are left."""
    kept: list[str] = []
    for part in parts:
        room -= len(part)
        if room < 0:
            break
        kept.append(part)
    return kept, len(parts) - len(kept)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
