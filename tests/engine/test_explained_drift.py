"""What is drift and what is on its way, where no platform can be made to show it."""

from dataclasses import replace
from typing import Any, Final

import pytest

from reconciler.engine.drift import Drift, Explained, Kind, Sides, differing, explain
from reconciler.model import (
    ActualGateway,
    Cause,
    DesiredGateway,
    FieldChange,
    Fingerprint,
    Gateway,
    Happening,
    Place,
    ProtocolType,
    SecretChange,
    SecretState,
    State,
    Status,
    StatusState,
)

NOW: Final = "2026-01-01T00:00:00Z"
DECLARED: Final = Gateway("a", ProtocolType.IMAP, "mail.example.com", 993)
UP: Final = Status(StatusState.SUCCEEDED, NOW, NOW)
OFF: Final = Status(StatusState.DISCONNECTED, NOW, NOW, cause=Cause.BY_HAND, actor="carol")
CREATED: Final = Happening(
    NOW, "job", "create", "c0ffee", changes=(FieldChange("host", None, "mail.example.com"),)
)


def desired(gateway: Gateway = DECLARED, digest: str | None = None) -> DesiredGateway:
    mark = Fingerprint("key", digest) if digest else None
    secret = "one" if digest else None
    return DesiredGateway(gateway, lambda: Place("mail.yaml"), secret, fingerprint=mark)


def actual(gateway: Gateway = DECLARED, status: Status = UP, **fields: Any) -> ActualGateway:
    return ActualGateway(gateway, status, "7", **{"owner": "ours", "applied": gateway, **fields})


def explained(
    wanted: DesiredGateway | None, found: ActualGateway | None, *told: Happening
) -> Explained:
    sides = Sides({"a": wanted} if wanted else {}, {"a": found} if found else {}, "ours")
    history = {"a": told} if told else {}
    return explain(sides, history, lambda one: one.commit == "c0ffee")


def only(found: Explained) -> Drift:
    (one,) = found.drift
    return one


def test_what_agrees_is_not_asked_for_and_not_told() -> None:
    sides = Sides({"a": desired()}, {"a": actual()}, "ours")
    assert differing(sides) == ()
    assert explain(sides, {}, lambda _: False) == Explained((), (), 1)


def test_a_foreign_gateway_is_looked_at_only_where_it_is_declared() -> None:
    theirs = actual(owner="theirs")
    assert differing(Sides({}, {"a": theirs}, "ours")) == ()
    assert explained(desired(), theirs) == Explained((), ("a",), 0)


def test_a_change_past_the_history_is_told_without_a_name() -> None:
    """A database that was restored from a backup, or edited."""
    moved = replace(DECLARED, host="elsewhere.example")
    one = only(explained(desired(), actual(moved, applied=DECLARED), CREATED))
    assert (one.kind, one.by) == (Kind.CHANGED, None)
    assert "past the platform's own history" in one.reason
    assert one.fields == (FieldChange("host", "mail.example.com", "elsewhere.example"),)


def test_a_change_past_the_history_that_is_declared_now_is_none() -> None:
    moved = replace(DECLARED, host="elsewhere.example")
    assert explained(desired(moved), actual(moved, applied=DECLARED), CREATED).drift == ()


def test_each_hand_has_its_own_fields() -> None:
    """And a field that ours wrote last is on its way, whoever wrote it before."""
    there = replace(DECLARED, host="b.example", port=1, default_user_name="Bob")
    bobs = (
        FieldChange("host", "mail.example.com", "b.example"),
        FieldChange("default_user_name", None, "Eve"),
        FieldChange("port", 993, 2),
    )
    bob = Happening(NOW, "bob", "edit", changes=bobs)
    eve = Happening(NOW, "eve", "edit", "f00", changes=(FieldChange("port", 2, 1),))
    ours = replace(CREATED, changes=(FieldChange("default_user_name", "Eve", "Bob"),))
    found = explained(desired(), actual(there), CREATED, bob, ours, eve)
    assert [(one.by, [field.field for field in one.fields]) for one in found.drift] == [
        (bob, ["host"]),
        (eve, ["port"]),
    ]
    assert found.on_the_way == ("a",)


def test_labels_are_compared_too() -> None:
    there = replace(DECLARED, labels=(("env", "test"),))
    bob = Happening(NOW, "bob", "edit", changes=(FieldChange("labels", {}, {"env": "test"}),))
    assert only(explained(desired(), actual(there), CREATED, bob)).by == bob


@pytest.mark.parametrize(
    ("digest", "has_password", "stored", "word"),
    [
        ("1", True, "2", SecretState.ROTATED),
        ("1", False, None, SecretState.CLEARED),
        (None, True, "2", SecretState.SET),
        ("1", True, "1", None),
        ("1", True, None, None),  # nothing to compare it with
    ],
)
def test_a_password_is_told_as_what_was_done_to_it(
    digest: str | None, stored: str | None, word: SecretState | None, *, has_password: bool
) -> None:
    mark = Fingerprint("key", stored) if stored else None
    there = actual(fingerprint=mark, has_password=has_password)
    changes = (SecretChange("user_password", SecretState.ROTATED),)
    bob = Happening(NOW, "bob", "edit", changes=changes)
    found = explained(desired(digest=digest), there, CREATED, bob)
    expected = [(SecretChange("user_password", word),)] if word else []
    assert [one.fields for one in found.drift] == expected
    by_us = explained(desired(digest=digest), there, replace(bob, commit="c0ffee"))
    assert (by_us.drift, by_us.on_the_way) == ((), ("a",) if word else ())


def test_a_hand_that_the_history_has_forgotten_is_in_the_status() -> None:
    one = only(explained(desired(), actual(status=OFF)))
    assert (one.kind, one.by) == (Kind.DISCONNECTED, Happening(NOW, "carol", "disconnect"))


def test_off_because_it_failed_is_no_drift() -> None:
    failed = replace(OFF, cause=Cause.WHEN_FAILED)
    assert explained(desired(), actual(status=failed)) == Explained((), (), 1)


@pytest.mark.parametrize("commit", ["c0ffee", "c0ffee-dirty", None])
def test_declared_off_by_whom(commit: str | None) -> None:
    """As a field: the session follows from it."""
    off = replace(DECLARED, state=State.DISCONNECTED)
    changes = (FieldChange("state", "connected", "disconnected"),)
    by = Happening(NOW, "bob", "disconnect", commit, changes=changes)
    status = replace(OFF, cause=Cause.DECLARED)
    found = explained(desired(), actual(off, status), CREATED, by)
    if commit == "c0ffee":
        assert found == Explained((), ("a",), 0)
    else:
        one = only(found)
        assert (one.kind, [field.field for field in one.fields]) == (Kind.CHANGED, ["state"])


def test_what_is_not_on_the_platform_is_on_its_way() -> None:
    assert explained(desired(), None) == Explained((), ("a",), 0)


def test_undeclared_and_off_is_at_rest() -> None:
    assert explained(None, actual(status=OFF)) == Explained((), (), 0)
    assert only(explained(None, actual())).kind is Kind.UNDECLARED
