"""A plan as JSON, and back. The format is a contract: schema/plan.schema.json.

The digest proves that a file is whole, not who made it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler import schemas
from reconciler.errors import StalePlan
from reconciler.model import (
    Action,
    ActualGateway,
    Change,
    Check,
    CheckState,
    Commit,
    Digests,
    Failure,
    FailureKind,
    FieldChange,
    Place,
    Plan,
    PolicyChange,
    Problem,
    SecretChange,
    SecretState,
    Selection,
    Severity,
    Warned,
)

FORMAT_VERSION: Final = "1.0"

_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def to_data(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, in the order in which it is written."""
    summary = {action.value: plan.count(action) for action in Action}
    return {
        "format_version": FORMAT_VERSION,
        "tool_version": plan.tool_version,
        "created_at": plan.created_at,
        "target": plan.target,
        "platform": plan.platform,
        "git": {"commit": plan.git.commit, "dirty": plan.git.dirty} if plan.git else None,
        "selection": {"only": list(plan.selection.only), "labels": dict(plan.selection.labels)},
        "refreshed": plan.refreshed,
        "secrets_compared": plan.secrets_compared,
        "policy_from": plan.policy_from,
        "against": plan.against,
        "policy": [
            {"setting": one.setting, "policy": one.policy, "tree": one.tree} for one in plan.policy
        ],
        "complete": plan.complete,
        "applicable": plan.applicable,
        "blocked": list(plan.blocked),
        "digests": {
            "desired": plan.digests.desired,
            "actual": plan.digests.actual,
            "plan": plan.digests.plan,
        },
        "summary": {
            **summary,
            "unchanged": plan.unchanged,
            "blocked": sum(change.blocked for change in plan.changes),
            "foreign": len(plan.foreign),
        },
        "changes": [_change_data(change) for change in plan.changes],
        "drift": [_change_data(change) for change in plan.drift],
        "foreign": list(plan.foreign),
        "warnings": [_problem_data(problem) for problem in plan.warnings],
    }


def to_text(plan: Plan) -> str:
    return json.dumps(to_data(plan), indent=2, ensure_ascii=True) + "\n"


def sealed(plan: Plan) -> Plan:
    """The plan with its own digest, which covers everything but the digest and `created_at`."""
    return replace(plan, digests=replace(plan.digests, plan=_digest_of(to_data(plan))))


def from_text(text: str, file: str) -> Plan:
    """Read a saved plan.

    Raises:
        StalePlan: it is not a plan, was written by a version with another format, or was altered.

    """
    try:
        data = json.loads(text)
        version = str(data["format_version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StalePlan(
            f"{file} is not a saved plan", "make one with: gateways plan --out FILE"
        ) from None
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise StalePlan(
            f"{file} has plan format {version[:20]!r}, and this version reads {FORMAT_VERSION}",
            "plan again with the version that applies",
        )
    try:
        whole = schemas.gate("plan")(data) and _digest_of(data) == data["digests"]["plan"]
        plan = _plan_from(data) if whole else None
    except (KeyError, TypeError, ValueError, AttributeError):
        whole, plan = False, None
    if not whole or plan is None:
        raise StalePlan(
            f"{file} was altered after it was made, or is cut off", "plan again and review that"
        )
    return plan


def actual_digest(gateways: Iterable[ActualGateway]) -> str:
    """A digest over what a plan was made against: fields, fingerprints, states, revisions.

    It covers one canonical JSON list, whose text is never held as a whole.
    """
    digest = hashlib.sha256(b"[")
    before = b""
    for one in gateways:
        line = [
            one.gateway.name,
            one.gateway.fields(),
            str(one.fingerprint) if one.fingerprint else None,
            one.status.state.value,
            one.owner,
            one.revision,
        ]
        digest.update(before + _encode(line).encode())
        before = b","
    digest.update(b"]")
    return "sha256:" + digest.hexdigest()


def _digest_of(data: Mapping[str, Any]) -> str:
    digests = {**data["digests"], "plan": ""}
    text = _encode({**data, "created_at": "", "digests": digests})
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _change_data(change: Change) -> dict[str, Any]:
    data: dict[str, Any] = {
        "gateway": change.gateway,
        "action": change.action.value,
        "reason": change.reason,
        "status": "blocked" if change.blocked else "planned",
        "blocked_by": change.blocked_by,
        "file": change.place.file if change.place else None,
        "line": change.place.line if change.place else None,
        "reconnects": change.reconnects,
        "fields": [_field_data(one) for one in change.fields],
        "warnings": [{"rule": one.rule, "message": one.message} for one in change.warnings],
        "revision": change.revision,
        "certificate_expires": change.certificate_expires,
    }
    if change.check:
        data["check"] = _check_data(change.check)
    return data


def _check_data(check: Check) -> dict[str, Any]:
    failure = check.failure
    return {
        "state": check.state.value,
        "before": check.before.value,
        "rung": check.rung,
        "note": check.note,
        "failure": {
            "kind": failure.kind.value,
            "field": failure.field,
            "message": failure.message,
            "hint": failure.hint,
        }
        if failure
        else None,
    }


def _field_data(one: FieldChange | SecretChange) -> dict[str, Any]:
    if isinstance(one, SecretChange):
        return {"field": one.field, "secret": one.secret.value}
    return {"field": one.field, "before": one.before, "after": one.after}


def _problem_data(problem: Problem) -> dict[str, Any]:
    return {
        "rule": problem.rule,
        "message": problem.message,
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "path": problem.path,
    }


def _plan_from(data: Mapping[str, Any]) -> Plan:
    git = data["git"]
    return Plan(
        target=str(data["target"]),
        platform=str(data["platform"]),
        changes=_changes_from(data["changes"]),
        unchanged=int(data["summary"]["unchanged"]),
        drift=_changes_from(data["drift"]),
        foreign=tuple(str(name) for name in data["foreign"]),
        warnings=tuple(_problem_from(one) for one in data["warnings"]),
        blocked=tuple(str(reason) for reason in data["blocked"]),
        complete=bool(data["complete"]),
        digests=Digests(**data["digests"]),
        created_at=str(data["created_at"]),
        tool_version=str(data["tool_version"]),
        git=Commit(git["commit"], git["dirty"]) if git else None,
        selection=_selection_from(data["selection"]),
        refreshed=bool(data["refreshed"]),
        secrets_compared=bool(data["secrets_compared"]),
        policy_from=str(data.get("policy_from", "")),
        against=str(data.get("against", "")),
        policy=tuple(
            PolicyChange(str(one["setting"]), str(one["policy"]), str(one["tree"]))
            for one in data.get("policy", ())
        ),
    )


def _selection_from(one: Mapping[str, Any]) -> Selection:
    labels = sorted((str(name), str(value)) for name, value in one["labels"].items())
    return Selection(tuple(str(glob) for glob in one["only"]), tuple(labels))


def _changes_from(changes: Sequence[Mapping[str, Any]]) -> tuple[Change, ...]:
    return tuple(
        Change(
            gateway=str(one["gateway"]),
            action=Action(one["action"]),
            reason=str(one["reason"]),
            fields=tuple(_field_from(field) for field in one["fields"]),
            reconnects=bool(one["reconnects"]),
            blocked_by=one["blocked_by"],
            place=Place(one["file"], one["line"]) if one["file"] else None,
            revision=one["revision"],
            warnings=tuple(Warned(w["rule"], w["message"]) for w in one["warnings"]),
            check=_check_from(one["check"]) if "check" in one else None,
            certificate_expires=one.get("certificate_expires"),
        )
        for one in changes
    )


def _check_from(one: Mapping[str, Any]) -> Check:
    failure = one["failure"]
    return Check(
        CheckState(one["state"]),
        str(one["rung"]),
        CheckState(one["before"]),
        Failure(
            FailureKind(failure["kind"]),
            failure["field"],
            str(failure["message"]),
            str(failure["hint"]),
        )
        if failure
        else None,
        str(one["note"]),
    )


def _field_from(one: Mapping[str, Any]) -> FieldChange | SecretChange:
    if "secret" in one:
        return SecretChange(str(one["field"]), SecretState(one["secret"]))
    return FieldChange(str(one["field"]), one["before"], one["after"])


def _problem_from(one: Mapping[str, Any]) -> Problem:
    return Problem(
        Place(one["file"], one["line"], one["column"]),
        str(one["path"]),
        str(one["rule"]),
        Severity.WARNING,
        str(one["message"]),
    )
