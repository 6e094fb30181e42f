"""What a plan may do. Pure: it marks changes as blocked and never drops one.

A blocked change stays visible with its reason; apply carries out the others. Where a budget is
exceeded all the changes that count against it are blocked, since choosing some would be arbitrary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase

from reconciler.engine.freeze import frozen
from reconciler.model import (
    Action,
    ActualGateway,
    Change,
    DesiredGateway,
    FieldChange,
    Freeze,
    Limits,
    Plan,
    State,
)


def guard(
    plan: Plan,
    limits: Limits,
    desired: Mapping[str, DesiredGateway],
    actual: Mapping[str, ActualGateway],
) -> Plan:
    """The same plan with every change blocked that must not be carried out."""
    changes = [_protected(change, actual.get(change.gateway)) for change in plan.changes]
    changes = [
        _host_allowed(change, desired.get(change.gateway), limits.allow_hosts) for change in changes
    ]
    changes = [_name_allowed(change, limits.allow_names) for change in changes]
    changes = _within(
        changes,
        limits.max_disconnects,
        lambda change: change.counted,
        "max_disconnects is {budget}, and this many are no longer declared: {count}; "
        "--max-disconnects {count} if it is meant",
    )
    changes = _within(
        changes,
        limits.max_reconnects,
        lambda change: change.reconnects,
        "max_reconnects is {budget}, and this many edits make a connection anew: {count}; "
        "--max-reconnects {count} if it is meant",
    )
    return replace(plan, changes=tuple(changes))


def refuse_empty(plan: Plan, declared: int, outside: int) -> Plan:
    """Zero declarations are never meant: an empty folder must not disconnect everything.

    `outside` is how many are declared, but not selected by the target.
    """
    if declared:
        return plan
    reason = "there are no declarations at all; removing every gateway must be meant one by one"
    if outside:
        reason = f"the target selects none of the gateways that are declared: {outside}"
    return replace(plan, blocked=(*plan.blocked, reason))


def refuse_frozen(plan: Plan, freezes: Sequence[Freeze]) -> Plan:
    """Nothing is applied in a freeze; the plan can still be reviewed.

    The moment is that of the plan, so that the same input gives the same plan.
    """
    if not plan.changes:
        return plan
    moment = datetime.fromisoformat(plan.created_at)
    reasons = tuple(
        f"target {plan.target} is frozen {words}: {freeze.reason}"
        for freeze in freezes
        if (words := frozen(freeze, moment))
    )
    return replace(plan, blocked=(*plan.blocked, *reasons))


def _block(change: Change, reason: str) -> Change:
    return change if change.blocked else replace(change, blocked_by=reason)


def _protected(change: Change, actual: ActualGateway | None) -> Change:
    if actual is None or not actual.gateway.protect or not _disconnects(change):
        return change
    return _block(
        change,
        "protected: set protect to false and apply that first, then disconnect in a second apply",
    )


def _disconnects(change: Change) -> bool:
    return change.action is Action.DISCONNECT or any(
        isinstance(one, FieldChange) and one.field == "state" and one.after == State.DISCONNECTED
        for one in change.fields
    )


def _host_allowed(
    change: Change, desired: DesiredGateway | None, allow_hosts: Sequence[str]
) -> Change:
    if not allow_hosts or desired is None or change.action is Action.DISCONNECT:
        return change
    host = desired.gateway.host
    if any(fnmatchcase(host, pattern.lower()) for pattern in allow_hosts):
        return change
    return _block(change, f"host {host} is not among the target's allow_hosts")


def _name_allowed(change: Change, allow_names: Sequence[str]) -> Change:
    """Removals too: what another team declares is not this repository's to disconnect."""
    if not allow_names or any(fnmatchcase(change.gateway, pattern) for pattern in allow_names):
        return change
    return _block(change, f"name {change.gateway} is not among the target's allow_names")


def _within(
    changes: Sequence[Change], budget: int | None, counts: Callable[[Change], bool], reason: str
) -> list[Change]:
    counted = [change for change in changes if counts(change) and not change.blocked]
    if budget is None or len(counted) <= budget:
        return list(changes)
    text = reason.format(budget=budget, count=len(counted))
    return [_block(change, text) if counts(change) else change for change in changes]
