"""The comment on a pull request: what it says, what it cuts, and that no string of a user acts."""

from dataclasses import replace

import pytest

from reconciler.model import (
    CONNECTION_FIELDS,
    PASSWORD_FIELD,
    Action,
    Change,
    Check,
    CheckState,
    Commit,
    Failure,
    FailureKind,
    FieldChange,
    Place,
    Plan,
    PolicyChange,
)
from reconciler.report.comment import MAX_LENGTH, comment, marker


def edit(name: str = "support-out", **fields: object) -> Change:
    change = Change(
        name,
        Action.EDIT,
        "host differs; the connection is made anew",
        (FieldChange("host", "old.example.com", "new.example.com"),),
        reconnects=True,
        place=Place("gateways.d/mail.yaml", 4, 3),
        certificate_expires="2027-03-01T00:00:00Z",
    )
    return replace(change, **fields)  # type: ignore[arg-type]


def plan(*changes: Change, **fields: object) -> Plan:
    whole = Plan(
        "production",
        "http",
        changes,
        unchanged=2,
        created_at="2026-11-22T10:00:00Z",
        tool_version="0.1.0",
        git=Commit("c0ffee" * 6, dirty=False),
    )
    return replace(whole, **fields)  # type: ignore[arg-type]


def test_what_a_reviewer_sees_first() -> None:
    text = comment(plan(edit(), Change("old", Action.DISCONNECT, "no longer declared")))
    first, title, sentence = text.split("\n\n")[0].split("\n")[0], *text.split("\n")[1:4:2]
    assert first == marker("production")
    assert title == "## Email gateways: production: 2 changes"
    assert "**edit** 1 and **disconnect** 1; 1 connection made anew" in sentence
    caution = text.partition("[!CAUTION]")[2].partition("\n\n")[0]
    assert "old is **disconnected**" in caution
    assert "connects with another **host**: old&#46;example&#46;com → new&#46;example&#46;com" in (
        caution
    )
    assert "| 2027&#45;03&#45;01 |" in text


@pytest.mark.parametrize("field", sorted(CONNECTION_FIELDS - {PASSWORD_FIELD}))
def test_no_edit_of_a_connection_is_overlooked(field: str) -> None:
    """A4: who is trusted, and as whom we log in, count as much as where that is."""
    text = comment(plan(edit(fields=(FieldChange(field, "1", "2"),))))
    caution = text.partition("[!CAUTION]")[2].partition("\n\n")[0]
    assert f"connects with another **{field}**: 1 → 2" in caution


@pytest.mark.parametrize(
    ("made", "title"),
    [
        (plan(), "no changes"),
        (plan(edit()), "1 change"),
        (plan(edit(), edit("b", blocked_by="protected")), "1 change, 1 blocked"),
        (plan(edit(blocked_by="protected")), "blocked"),
        (plan(edit(), blocked=("there are no declarations",)), "blocked"),
        (plan(edit(), complete=False), "incomplete"),
    ],
)
def test_the_title_says_the_state(made: Plan, title: str) -> None:
    assert f"## Email gateways: production: {title}\n" in comment(made)


def test_a_protection_that_goes_and_a_policy_that_changes_are_dangers() -> None:
    unprotected = edit(fields=(FieldChange("protect", before=True, after=False),), reconnects=False)
    policy = PolicyChange("max_disconnects", "0", "99")
    text = comment(plan(unprotected, policy=(policy,), policy_from="origin/main"))
    caution = text.partition("[!CAUTION]")[2].partition("\n\n")[0]
    assert "loses its **protection**" in caution
    assert "**max&#95;disconnects** changes with this: 0 → 99" in caution


def test_a_check_says_whether_it_works_now() -> None:
    failure = Failure(FailureKind.AUTH, "user_password", "the server refuses the password")
    failing = edit(check=Check(CheckState.FAILS, "login", CheckState.WORKS, failure))
    repaired = edit("b", check=Check(CheckState.WORKS, "login", CheckState.FAILS))
    text = comment(plan(failing, repaired))
    assert "**fails &#40;auth, field user&#95;password&#41;&#58;" in text
    assert "it does not now" in text


def test_the_table_stays_and_details_are_cut() -> None:
    """A20: a comment never exceeds what a forge takes, and says what it hides."""
    wide = [
        edit(
            f"gateway-{number:04}",
            fields=tuple(FieldChange(f"field{n}", "x" * 50, "y" * 50) for n in range(16)),
        )
        for number in range(150)
    ]
    text = comment(plan(*wide, drift=(edit("drifted"),)))
    assert len(text) <= MAX_LENGTH
    for change in wide:
        name = change.gateway.replace("-", "&#45;")
        assert f"| `~` | {name} |" in text, "every change has its row"
    assert "changes do not fit here" in text


def test_thousands_of_changes_are_counted() -> None:
    many = [edit(f"gateway-{number:05}") for number in range(10_000)]
    text = comment(plan(*many))
    assert len(text) <= MAX_LENGTH
    assert "10000 changes" in text
    assert "more changes do not fit here" in text
