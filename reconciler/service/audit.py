"""What the audit trail says of a write. Pure; a password is only ever a word."""

import json
from typing import Any, Final

from reconciler.model import PASSWORD_FIELD, Cause, Gateway, SecretState

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


def describe(
    before: Gateway | None,
    after: Gateway,
    *,
    owner: tuple[str | None, str | None] | None = None,
    password: SecretState = SecretState.UNCHANGED,
    cause: Cause | None = None,
) -> str:
    """JSON: each changed field with its value before and after; for a create those that are set.

    `owner` is the owner before and after, where it changed hands.
    """
    old = before.fields() if before else {}
    changes: list[dict[str, Any]] = [
        {"field": name, "before": old.get(name), "after": value}
        for name, value in after.fields().items()
        if old.get(name) != value or type(old.get(name)) is not type(value)
    ]
    if owner:
        changes.append({"field": "owner", "before": owner[0], "after": owner[1]})
    if password is not SecretState.UNCHANGED:
        changes.append({"field": PASSWORD_FIELD, "secret": password.value})
    if cause:
        changes.append({"cause": cause.value})
    return _encode(changes)
