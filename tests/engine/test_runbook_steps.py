"""Changes as console steps, as cases on disk: `case.yaml` has both sides, `steps.md` the steps.

GATEWAYS_UPDATE=1 writes what comes out; review it.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from reconciler import schemas
from reconciler.engine.runbook import labels, runbooks
from reconciler.model import Action, Fingerprint, Runbook, Tick
from reconciler.report.runbook import Checklist, checklist_markdown, ticked_by
from tests.engine.cases_on_disk import plan_of, sides_of

RUNBOOKS: Final = Path(__file__).parent / "runbooks"
NAMES: Final = sorted(path.parent.name for path in RUNBOOKS.glob("*/case.yaml"))


def load(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((RUNBOOKS / name / "case.yaml").read_text("utf-8"))
    return data


def steps_of(case: Mapping[str, Any]) -> tuple[Runbook, ...]:
    desired, actual = sides_of(case)
    return runbooks(plan_of(case), desired, actual)


def named(name: str, gateway: str) -> Runbook:
    return next(one for one in steps_of(load(name)) if one.change.gateway == gateway)


@pytest.mark.parametrize("name", NAMES)
def test_steps(name: str) -> None:
    case = load(name)
    done = "gateways apply -t aicc --done"
    checklist = Checklist(plan_of(case), steps_of(case), {}, "aicc.json", done)
    text = checklist_markdown(checklist)
    path = RUNBOOKS / name / "steps.md"
    if os.environ.get("GATEWAYS_UPDATE"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def test_the_labels_are_those_of_the_schema() -> None:
    properties = schemas.load("gateways")["$defs"]["fields"]["properties"]
    assert labels()["host"] == properties["host"]["title"]
    assert labels()["user_password"] == "User Password"


def test_order_is_that_of_an_apply() -> None:
    """Disconnects, edits and rebuilds, creates."""
    case = load("create")
    case["desired"] |= load("disconnect")["desired"] | {"failed": None}
    case["actual"] = load("disconnect")["actual"] | {"failed": {"status": "failed", "kind": "tcp"}}
    actions = [one.change.action for one in steps_of(case)]
    kinds = (Action.DISCONNECT, Action.REBUILD, Action.CREATE)
    assert actions == sorted(actions, key=kinds.index)
    assert set(actions) == set(kinds)


def test_only_what_changes_is_shown_with_what_it_was() -> None:
    steps = named("edit", "message").steps
    (step,) = steps
    shown = [(one.label, one.before, one.value) for one in step.fields]
    assert shown == [
        ("Default User Name", "", "Example"),
        ("Case sensitivity", "insensitive", "sensitive"),
    ]
    assert named("edit", "message").recorded == ("receive_from",)


def test_a_connection_is_made_anew_at_the_end() -> None:
    titles = [step.title for step in named("edit", "connection").steps]
    assert titles == ["Import the certificate", "Edit its address", "Make the connection anew"]
    assert [step.looks for step in named("edit", "connection").steps] == [False, False, True]
    assert not any(step.looks for step in named("edit", "message").steps)


def test_a_certificate_that_another_gateway_has_is_not_imported_again() -> None:
    case = load("create")
    case["actual"] = {"before": None}
    case["desired"]["before"] = None
    (step, *_) = next(one for one in steps_of(case) if one.change.gateway == "in1").steps
    assert step.title == "Create the gateway"


@pytest.mark.parametrize(("file", "kind"), [("a.CER", "CER"), ("a.pem", None), ("a", None)])
def test_the_type_of_a_certificate_goes_by_its_name(file: str, kind: str | None) -> None:
    """Only what the vendor documents: others are left to who looks at the form."""
    case = load("create")
    desired, actual = sides_of(case)
    one = desired["in1"]
    assert one.gateway.certificate
    anchor = replace(one.gateway.certificate, file=file)
    desired["in1"] = replace(one, gateway=replace(one.gateway, certificate=anchor))
    first = runbooks(plan_of(case), desired, actual)[0].steps[0]
    shown = {field.label: field.value for field in first.fields}
    assert shown.get("Cert Type") == kind
    assert shown["file"] == file


def test_digests_tell_changes_apart() -> None:
    """Of another value, another revision, another password; the same for the same."""
    case = load("edit")
    (first, again) = (named("edit", "connection"), named("edit", "connection"))
    assert first.digest == again.digest
    others = []
    for key, value in (
        ("fields", {"host": "other.example.com", "certificate_file": "other"}),
        ("password", "k1:three"),
    ):
        desired = {**case["desired"]["connection"], key: value}
        changed = {**case, "desired": {**case["desired"], "connection": desired}}
        others.append(changed)
    others.append({**case, "actual": {**case["actual"], "connection": {"revision": 2}}})
    digests = {
        next(one for one in steps_of(other) if one.change.gateway == "connection").digest
        for other in others
    }
    assert len(digests | {first.digest}) == 4


def test_no_value_of_a_password_is_in_a_step() -> None:
    for name in NAMES:
        for one in steps_of(load(name)):
            fields = [field for step in one.steps for field in step.fields]
            passwords = [field for field in fields if field.field == "user_password"]
            assert {field.value for field in passwords} <= {""}
            assert str(Fingerprint("k1", "one")) not in repr(one)


def test_a_change_is_the_same_once_its_certificate_was_imported_for_another() -> None:
    case = load("create")
    before = next(one for one in steps_of(case) if one.change.gateway == "in1")
    case["actual"] = {"other": None}
    case["desired"]["other"] = None
    after = next(one for one in steps_of(case) if one.change.gateway == "in1")
    assert len(after.steps) == len(before.steps) - 1
    assert after.digest == before.digest


def test_what_was_ticked_before_the_change_was_carried_out_is_spent() -> None:
    begun = Tick("2026-11-22T10:00:00Z", "a", None, "r", "in1", Action.CREATE, "c", 1, 2, "First")
    ended = replace(begun, step=2, title="Second", changes=())
    again = replace(begun, at="2026-11-22T11:00:00Z")
    assert ticked_by([]) == {}
    assert ticked_by([begun]) == {("c", "First"): begun}
    assert ticked_by([begun, ended]) == {}
    assert ticked_by([begun, ended, again]) == {("c", "First"): again}
