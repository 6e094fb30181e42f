"""What trying a connection says of a change, in every transition."""

from dataclasses import replace

import pytest

from reconciler.engine.checks import check_of, checked, connects
from reconciler.engine.planfile import from_text, sealed, to_text
from reconciler.engine.review import accept
from reconciler.errors import StalePlan
from reconciler.model import (
    Action,
    ActualGateway,
    Change,
    CheckState,
    Digests,
    Failure,
    FailureKind,
    FieldChange,
    Gateway,
    Ladder,
    Plan,
    ProtocolType,
    Rung,
    RungState,
    State,
    Status,
    StatusState,
)

AT = "2026-11-22T10:00:00Z"
NAMES = ("dns", "tcp", "tls", "expiry", "capabilities", "login")
GATEWAY = Gateway("a", ProtocolType.IMAP, "mail.example.com", 993)
EDIT = Change("a", Action.EDIT, "port differs", (FieldChange("port", 993, 994),), reconnects=True)
DIGESTS = Digests("sha256:" + "0" * 64, "sha256:" + "1" * 64, "")
LETTERS = {
    "o": RungState.OK,
    "w": RungState.WARNING,
    "f": RungState.FAILED,
    "s": RungState.SKIPPED,
}


def ladder(states: str, kind: FailureKind = FailureKind.TCP) -> Ladder:
    """A ladder by one letter a rung: o(k), w(arning), f(ailed), s(kipped)."""
    rungs = tuple(
        Rung(name, LETTERS[letter], f"about {name}")
        for name, letter in zip(NAMES, states, strict=True)
    )
    return Ladder("a", rungs, Failure(kind, "port", "refused") if "f" in states else None)


def actual(state: StatusState, kind: FailureKind | None = None) -> ActualGateway:
    failure = Failure(kind, "host", "down") if kind else None
    return ActualGateway(GATEWAY, Status(state, AT, AT, failure), "1", "acme")


@pytest.mark.parametrize(
    ("now", "states", "before", "after", "blocked"),
    [
        (actual(StatusState.SUCCEEDED), "ofssss", "works", "fails", True),
        (actual(StatusState.SUCCEEDED), "oossss", "works", "works", False),
        (actual(StatusState.FAILED, FailureKind.TCP), "ofssss", "fails", "fails", False),
        (actual(StatusState.FAILED, FailureKind.TCP), "oossss", "fails", "works", False),
        (actual(StatusState.FAILED, FailureKind.TCP), "fsssss", "unknown", "fails", False),
        (actual(StatusState.FAILED, FailureKind.AUTH), "ooooss", "unknown", "works", False),
        (actual(StatusState.FAILED, FailureKind.AUTH), "oooooo", "fails", "works", False),
        (actual(StatusState.FAILED, FailureKind.TIMEOUT), "ooooos", "unknown", "works", False),
        (actual(StatusState.FAILED), "oooooo", "fails", "works", False),
        (actual(StatusState.CONNECTING), "ofssss", "unknown", "fails", False),
        (actual(StatusState.DISCONNECTED), "ofssss", "unknown", "fails", False),
        (None, "ofssss", "unknown", "fails", False),
        (actual(StatusState.SUCCEEDED), "ssssss", "unknown", "unknown", False),
    ],
)
def test_transitions(
    now: ActualGateway | None,
    states: str,
    before: str,
    after: str,
    blocked: bool,  # noqa: FBT001 - a table
) -> None:
    check = check_of(ladder(states), now)
    assert (check.before, check.state, check.breaks) == (before, after, blocked)
    plan = checked(Plan("local", "embedded", (EDIT,)), {"a": check})
    assert plan.changes[0].check == check
    assert plan.changes[0].blocked is blocked


@pytest.mark.parametrize(
    ("states", "rung"),
    [
        ("osssss", "dns"),
        ("oowwss", "tls"),
        ("oooooo", "login"),
        ("oossos", "capabilities"),
        ("oofsss", "tls"),
        ("ssssss", ""),
    ],
)
def test_the_last_rung_that_was_tried(states: str, rung: str) -> None:
    assert check_of(ladder(states), None).rung == rung


def test_a_certificate_that_expires_soon_is_noted() -> None:
    assert check_of(ladder("ooowoo"), None).note == "about expiry"
    assert check_of(ladder("ooowos"), None, "no login").note == "no login; about expiry"


def test_what_is_blocked_already_keeps_its_reason() -> None:
    plan = Plan("local", "embedded", (replace(EDIT, blocked_by="max_reconnects is 0"),))
    check = check_of(ladder("ofssss"), actual(StatusState.SUCCEEDED))
    assert checked(plan, {"a": check}).changes[0].blocked_by == "max_reconnects is 0"
    assert checked(plan, {}) == plan


@pytest.mark.parametrize("action", Action)
def test_what_makes_a_connection(action: Action) -> None:
    change = Change("a", action, "")
    assert connects(change, GATEWAY) is (action not in {Action.DISCONNECT, Action.EDIT})
    assert connects(replace(change, reconnects=True), GATEWAY) is (action is not Action.DISCONNECT)
    resting = replace(GATEWAY, state=State.DISCONNECTED)
    assert not connects(change, resting)


@pytest.fixture
def blocked() -> Plan:
    """A saved plan with one change that a check has blocked, read back from its file."""
    check = check_of(ladder("ofssss"), actual(StatusState.SUCCEEDED))
    plan = Plan("local", "embedded", (EDIT,), created_at=AT, digests=DIGESTS)
    plan = checked(plan, {"a": check})
    return from_text(to_text(sealed(plan)), "plan.json")


@pytest.mark.parametrize("budgets_given", [True, False])
def test_a_block_is_carried_over(blocked: Plan, *, budgets_given: bool) -> None:
    fresh = Plan("local", "embedded", (EDIT, Change("b", Action.REBUILD, "")), digests=DIGESTS)
    with pytest.raises(StalePlan):
        accept(blocked, fresh, budgets_given=budgets_given)  # b was not reviewed
    (change,) = accept(
        blocked, replace(fresh, changes=(EDIT,)), budgets_given=budgets_given
    ).changes
    assert change.blocked_by == "works now, and would fail: refused (field port)"
    assert change.check
    assert change.check.state is CheckState.FAILS


def test_what_was_blocked_by_a_check_must_be_the_same_change(blocked: Plan) -> None:
    other = replace(EDIT, fields=(FieldChange("port", 993, 995),))
    with pytest.raises(StalePlan):
        accept(blocked, Plan("local", "embedded", (other,), digests=DIGESTS), budgets_given=False)


def test_a_check_that_passed_or_blocked_nothing_changes_nothing() -> None:
    fresh = Plan("local", "embedded", (EDIT,))
    for now, states in ((None, "ofssss"), (actual(StatusState.SUCCEEDED), "oooooo")):
        saved = checked(fresh, {"a": check_of(ladder(states), now)})
        assert accept(saved, fresh, budgets_given=False) == fresh


def test_a_change_that_the_guard_blocks_now_stays_so(blocked: Plan) -> None:
    frozen = replace(EDIT, blocked_by="protected")
    fresh = Plan("local", "embedded", (frozen,), digests=DIGESTS)
    assert accept(blocked, fresh, budgets_given=False) == fresh
