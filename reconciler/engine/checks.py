"""What trying the connections of a plan's changes says of the plan. Pure: the trying is done.

A change that would end a connection which works now is blocked; one that mends a connection is
said to; where nothing worked before, a failure is shown and blocks nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from reconciler.model import (
    Action,
    ActualGateway,
    Change,
    Check,
    CheckState,
    Failure,
    FailureKind,
    Gateway,
    Ladder,
    Plan,
    Rung,
    RungState,
    State,
    StatusState,
)

RUNGS: Final = ("dns", "tcp", "tls", "login")
"""The rungs up to which a plan's changes can be tried, in their order."""

_HEIGHTS: Final[Mapping[str, int]] = {
    name: height
    for height, name in enumerate(("dns", "tcp", "tls", "expiry", "capabilities", "login"))
}
_REACHED: Final = frozenset({RungState.OK, RungState.WARNING})

# How high a ladder must go to meet a fault of a kind; others may show anywhere.
_SEEN_AT: Final[Mapping[FailureKind, str]] = {
    FailureKind.DNS: "dns",
    FailureKind.TCP: "tcp",
    FailureKind.TLS: "tls",
}


def connects(change: Change, gateway: Gateway) -> bool:
    """Whether the change makes or remakes the connection of what is then `gateway`."""
    match change.action:
        case Action.DISCONNECT:
            return False
        case Action.EDIT:
            return change.reconnects
        case Action.CREATE | Action.REBUILD | Action.ADOPT:
            return gateway.state is State.CONNECTED


def check_of(ladder: Ladder, actual: ActualGateway | None, note: str = "") -> Check:
    """What a ladder says of a change; `actual` is what the change would replace."""
    rung = _rung(ladder)
    if rung is None:
        return Check(CheckState.UNKNOWN, "", note=note or ladder.rungs[0].detail)
    state = CheckState.FAILS if ladder.failure else CheckState.WORKS
    notes = [note] if note else []
    notes += [one.detail for one in ladder.rungs if one.state is RungState.WARNING]
    return Check(state, rung.name, _before(actual, rung.name), ladder.failure, "; ".join(notes))


def checked(plan: Plan, checks: Mapping[str, Check]) -> Plan:
    """The plan with what was found, by gateway; what would end a working connection is blocked."""
    changes = tuple(_checked(change, checks.get(change.gateway)) for change in plan.changes)
    return replace(plan, changes=changes)


def _checked(change: Change, check: Check | None) -> Change:
    if check is None:
        return change
    change = replace(change, check=check)
    if not check.breaks or change.blocked:
        return change
    return replace(change, blocked_by=f"works now, and would fail: {_words(check.failure)}")


def _words(failure: Failure | None) -> str:
    if failure is None:
        return "the connection is not made"
    return failure.message + (f" (field {failure.field})" if failure.field else "")


def _rung(ladder: Ladder) -> Rung | None:
    """The last rung that was tried; how long a certificate still holds is no rung to stop at."""
    tried = [one for one in ladder.rungs if one.state is not RungState.SKIPPED]
    failed = [one for one in tried if one.state is RungState.FAILED]
    reached = [one for one in tried if one.state in _REACHED and one.name != "expiry"]
    return next(iter([*failed, *reversed(reached)]), None)


def _before(actual: ActualGateway | None, rung: str) -> CheckState:
    """What is known of the connection as it is, as far up as `rung`."""
    if actual is None:
        return CheckState.UNKNOWN
    match actual.status.state:
        case StatusState.SUCCEEDED if actual.status.checked_at:
            return CheckState.WORKS
        case StatusState.FAILED if _would_show(actual.status.failure, rung):
            return CheckState.FAILS
        case _:
            return CheckState.UNKNOWN


def _would_show(failure: Failure | None, rung: str) -> bool:
    """Whether a ladder that ended at `rung` went far enough to meet the fault again."""
    seen_at = _SEEN_AT.get(failure.kind, "login") if failure else "login"
    return _HEIGHTS[rung] >= _HEIGHTS[seen_at]
