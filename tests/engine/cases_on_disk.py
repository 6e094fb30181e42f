"""Cases on disk: `case.yaml` holds both sides; `plan.txt`, `.json` and `.md` what comes out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from reconciler.engine import diff, guard, planfile
from reconciler.engine.select import select
from reconciler.model import (
    ActualGateway,
    Cause,
    Certificate,
    DesiredGateway,
    Digests,
    Failure,
    FailureKind,
    Fingerprint,
    Gateway,
    Limits,
    Place,
    Plan,
    SecretState,
    Selection,
    Snapshot,
    Status,
    StatusState,
)

CASES = Path(__file__).parent / "cases"
OWNER = "acme"
SINCE = "2026-11-22T10:00:00Z"


def names() -> list[str]:
    return sorted(path.parent.name for path in CASES.glob("*/case.yaml"))


def plan_of(case: Mapping[str, Any], *, backwards: bool = False) -> Plan:
    """The plan of a case; `backwards` gives both sides in the opposite order."""
    desired = [_desired(name, one) for name, one in (case.get("desired") or {}).items()]
    actual = [_actual(name, one) for name, one in (case.get("actual") or {}).items()]
    if backwards:
        desired.reverse()
        actual.reverse()
    snapshot = Snapshot(tuple(actual), supervised=case.get("supervised", False))
    wish = case.get("select", {})
    selection = Selection(
        tuple(wish.get("only", ())), tuple(sorted(wish.get("labels", {}).items()))
    )
    chosen = select(desired, case.get("outside", ()), snapshot, selection, owner=OWNER)
    wanted = {one.gateway.name: one for one in chosen.desired}
    ours = diff.Ours(OWNER, frozenset(case.get("adopting", ())))
    changes = diff.diff(chosen.desired, chosen.actual, ours, supervised=snapshot.supervised)
    plan = Plan(
        target="local",
        platform="embedded",
        changes=tuple(sorted((*changes, *chosen.leaving), key=lambda one: one.gateway)),
        unchanged=len(wanted.keys() - {one.gateway for one in changes}),
        drift=diff.drift(tuple(chosen.actual.values()), OWNER, wanted),
        foreign=tuple(
            sorted(
                name
                for name, one in chosen.actual.items()
                if one.owner != OWNER and name not in wanted
            )
        ),
        digests=Digests("sha256:" + "0" * 64, "sha256:" + "1" * 64, ""),
        created_at=SINCE,
        tool_version="0",
    )
    plan = guard.guard(plan, Limits(**case.get("limits", {})), wanted, chosen.actual)
    return planfile.sealed(guard.refuse_empty(plan, len(desired), len(case.get("outside", ()))))


def sides_of(
    case: Mapping[str, Any],
) -> tuple[dict[str, DesiredGateway], dict[str, ActualGateway]]:
    """Both sides of a case, by name."""
    desired = {name: _desired(name, one) for name, one in (case.get("desired") or {}).items()}
    actual = {name: _actual(name, one) for name, one in (case.get("actual") or {}).items()}
    return desired, actual


def load(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((CASES / name / "case.yaml").read_text("utf-8"))
    return data


def _gateway(name: str, given: Mapping[str, Any]) -> Gateway:
    fields = {
        "protocol_type": "IMAP",
        "host": "mail.example.com",
        "user_id": "support@example.com",
        **given.get("fields", {}),
    }
    pem = fields.get("certificate_file", "root")
    return Gateway.of(name, fields, Certificate("certs/root.pem", pem) if pem else None)


def _fingerprint(given: Mapping[str, Any]) -> Fingerprint | None:
    text = given.get("password", "k1:one")
    return Fingerprint.parse(text) if text and text != "unknown" else None


def _desired(name: str, given: Mapping[str, Any] | None) -> DesiredGateway:
    given = given or {}
    known = given.get("password") != "unknown"
    return DesiredGateway(
        _gateway(name, given),
        lambda: Place("gateways.d/mail.yaml", given.get("line", 3), 3),
        secret=None if given.get("password", "") is None else "mailbox",
        fingerprint=_fingerprint(given),
        password_known=known,
        since_base=SecretState(given["since_base"]) if "since_base" in given else None,
    )


def _actual(name: str, given: Mapping[str, Any] | None) -> ActualGateway:
    given = given or {}
    gateway = _gateway(name, given)
    applied = _gateway(name, {"fields": given["applied"]}) if "applied" in given else gateway
    return ActualGateway(
        gateway,
        _status(given.get("status", "succeeded"), given),
        revision=str(given.get("revision", 1)),
        owner=given.get("owner", OWNER),
        fingerprint=_fingerprint(given),
        has_password=given.get("password", "") is not None,
        applied=applied,
    )


def _status(state: str, given: Mapping[str, Any]) -> Status:
    failure = Failure(FailureKind(given["kind"]), "host", "no answer") if "kind" in given else None
    cause = Cause(given["cause"]) if "cause" in given else None
    return Status(StatusState(state), SINCE, SINCE, failure, cause, given.get("actor", ""))
