"""What a pull request must not decide: settings of a target that come from another commit.

Whoever proposes a change writes gateways.yaml too. What fences it in, and where a trusted job
connects, is taken from the commit that the change is proposed against.
"""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from reconciler.declarations.project import FILE, read_project
from reconciler.errors import InvalidInput
from reconciler.model import Limits, PolicyChange, Target

_SETTINGS: Final = (
    "platform",
    "owner",
    "database",
    "url",
    "tenant",
    "token_env",
    "record",
    "errors",
    "sops_key_services",
    "check_logins",
)
_LIMITS: Final = tuple(one.name for one in fields(Limits))


def policy_of(text: bytes, root: Path, target: str, asked: str) -> Target:
    """The target as `text` has it, the gateways.yaml of a commit; `asked` is how it was named.

    Raises:
        InvalidInput: its settings are invalid, or it has no such target.

    """
    found = read_project(text, root).targets.get(target)
    if found is None:
        raise InvalidInput(
            f"{asked}: there is no target {target!r} in {FILE} of that commit",
            "merge the new target first, in a change of its own",
        )
    return found


def kept_to(tree: Target, policy: Target) -> tuple[Target, tuple[PolicyChange, ...]]:
    """The tree's target under another commit's policy, and what the tree would have otherwise."""
    changes = [
        PolicyChange(name, _text(getattr(policy, name)), _text(getattr(tree, name)))
        for name in _SETTINGS
        if getattr(policy, name) != getattr(tree, name)
    ]
    changes.extend(
        PolicyChange(name, _text(getattr(policy.limits, name)), _text(getattr(tree.limits, name)))
        for name in _LIMITS
        if getattr(policy.limits, name) != getattr(tree.limits, name)
    )
    settings: dict[str, Any] = {name: getattr(policy, name) for name in _SETTINGS}
    return replace(tree, **settings, limits=policy.limits), tuple(changes)


def _text(value: Any) -> str:
    if isinstance(value, frozenset):
        value = sorted(value)
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> dict[str, Any]:
    """A freeze, as it is written in the settings."""
    found = {one.name: getattr(value, one.name) for one in fields(value)}
    return {name: text for name, text in found.items() if text}
