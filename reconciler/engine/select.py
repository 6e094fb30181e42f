"""Which gateways a run looks at, on both sides, by the labels that each side has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from reconciler.model import (
    Action,
    ActualGateway,
    Change,
    DesiredGateway,
    Gateway,
    Selection,
)


@dataclass(frozen=True, slots=True)
class Selected:
    """`leaving` are changes that would move a gateway out of the selection, all blocked."""

    desired: tuple[DesiredGateway, ...]
    actual: Mapping[str, ActualGateway]
    leaving: tuple[Change, ...]


def select(
    desired: Sequence[DesiredGateway],
    actual: Sequence[ActualGateway],
    selection: Selection,
    *,
    owner: str,
) -> Selected:
    """Both sides of what is selected.

    A gateway whose stored labels match and whose declared ones do not is leaving the selection: it
    is neither compared nor taken for undeclared.
    """
    if selection.everything:
        return Selected(tuple(desired), {one.gateway.name: one for one in actual}, ())
    declared = {one.gateway.name: one for one in desired}
    wanted = tuple(one for one in desired if matches(one.gateway, selection))
    names = {one.gateway.name for one in wanted}
    chosen: dict[str, ActualGateway] = {}
    leaving: list[Change] = []
    for one in actual:
        name = one.gateway.name
        if name in names or (matches(one.gateway, selection) and name not in declared):
            chosen[name] = one
        elif name in declared and one.owner == owner and matches(one.gateway, selection):
            leaving.append(_leaving(declared[name], one))
    return Selected(wanted, chosen, tuple(leaving))


def matches(gateway: Gateway, selection: Selection) -> bool:
    if selection.only and not any(fnmatchcase(gateway.name, glob) for glob in selection.only):
        return False
    return set(selection.labels) <= set(gateway.labels)


def _leaving(desired: DesiredGateway, actual: ActualGateway) -> Change:
    return Change(
        actual.gateway.name,
        Action.EDIT,
        "its labels change such that it leaves the selection",
        blocked_by="it would leave the selection; plan without the labels to change them",
        place=desired.place,
        revision=actual.revision,
    )
