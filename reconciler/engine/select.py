"""Which gateways a run looks at, on both sides, by the labels that each side has."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from reconciler.model import (
    Action,
    ActualGateway,
    Change,
    DesiredGateway,
    Gateway,
    Selection,
    Snapshot,
)


@dataclass(frozen=True, slots=True)
class Selected:
    """`leaving` are changes that would move a gateway out of the selection, all blocked."""

    desired: tuple[DesiredGateway, ...]
    actual: Mapping[str, ActualGateway]
    leaving: tuple[Change, ...]


def select(
    desired: Sequence[DesiredGateway],
    outside: Collection[str],
    snapshot: Snapshot,
    selection: Selection,
    *,
    owner: str,
) -> Selected:
    """Both sides of what is selected; `outside` are gateways that the target does not select.

    A gateway whose stored labels match and whose declared ones do not is leaving the selection: it
    is neither compared nor taken for undeclared.
    """
    declared = {one.gateway.name: one for one in desired}
    wanted = tuple(one for one in desired if matches(one.gateway, selection))
    names = {one.gateway.name for one in wanted}
    chosen: dict[str, ActualGateway] = {}
    leaving: list[Change] = []
    for one in snapshot.gateways:
        name = one.gateway.name
        if name in names:
            chosen[name] = one
        elif not matches(one.gateway, selection):
            continue
        elif name not in declared and name not in outside:
            chosen[name] = one
        elif one.owner == owner:
            leaving.append(_leaving(one, declared.get(name)))
    return Selected(wanted, chosen, tuple(leaving))


def matches(gateway: Gateway, selection: Selection) -> bool:
    if selection.only and not any(fnmatchcase(gateway.name, glob) for glob in selection.only):
        return False
    return set(selection.labels) <= set(gateway.labels)


def _leaving(actual: ActualGateway, desired: DesiredGateway | None) -> Change:
    return Change(
        actual.gateway.name,
        Action.EDIT,
        "its labels change such that it leaves the selection",
        blocked_by="it would leave the selection; plan without the labels to change them",
        place=desired.place if desired else None,
        revision=actual.revision,
    )
