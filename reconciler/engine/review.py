"""Whether what would be done now is what was reviewed: equal, or less."""

from dataclasses import replace

from reconciler.errors import StalePlan
from reconciler.model import Action, Change, FieldChange, Plan, SecretChange, SecretState

AGAIN = "plan again, review that, and apply it"


def accept(saved: Plan, fresh: Plan, *, budgets_given: bool) -> Plan:
    """Return what may be applied of `fresh`; fewer changes than were reviewed are fine.

    `budgets_given` says that whoever applies has raised a budget by hand, which unblocks changes
    that the saved plan shows as blocked. What a check has blocked stays blocked: nothing is tried
    again here.

    Raises:
        StalePlan: the declarations, the platform or the target are no longer those of the plan.

    """
    if saved.against:
        raise StalePlan(
            f"the plan compares with what {saved.against} declares, and not with the platform",
            "apply without it, or plan without --against and review that",
        )
    if (saved.target, saved.platform) != (fresh.target, fresh.platform):
        raise StalePlan(
            f"the plan was made for target {saved.target!r} on platform {saved.platform!r}, "
            f"and this is {fresh.target!r} on {fresh.platform!r}",
            f"apply it with: -t {saved.target}",
        )
    if saved.digests.desired != fresh.digests.desired:
        raise StalePlan(
            "the declarations, a certificate or a secret changed after the plan was made", AGAIN
        )
    reviewed = {change.gateway: change for change in saved.changes}
    changes = []
    for change in fresh.changes:
        before = reviewed.get(change.gateway)
        if not change.blocked:
            _refuse_unreviewed(saved, before, change)
        if before and before.check and before.check.breaks and not change.blocked:
            changes.append(replace(change, blocked_by=before.blocked_by, check=before.check))
            continue
        if before and before.blocked and not change.blocked and not budgets_given:
            raise StalePlan(
                f"gateway {change.gateway} is blocked in the saved plan, and would not be now",
                AGAIN,
            )
        changes.append(change)
    return replace(fresh, changes=tuple(changes))


def _refuse_unreviewed(saved: Plan, before: Change | None, change: Change) -> None:
    if before is None and not saved.secrets_compared and _only_sends_password(change):
        return  # without a key the plan said that passwords were not compared
    if before is None or not _same(before, change, compared=saved.secrets_compared):
        raise StalePlan(
            f"gateway {change.gateway} is no longer as it was when the plan was made: "
            f"{change.action}, because {change.reason}, was not reviewed",
            AGAIN,
        )


def _only_sends_password(change: Change) -> bool:
    return change.action is Action.EDIT and all(
        isinstance(one, SecretChange)
        and one.secret in {SecretState.ROTATED, SecretState.NOT_COMPARED}
        for one in change.fields
    )


def _same(reviewed: Change, fresh: Change, *, compared: bool) -> bool:
    """All that has an effect; where a declaration stands and how a reason reads has none."""
    return (
        reviewed.action is fresh.action
        and reviewed.revision == fresh.revision
        and _fields_match(reviewed, fresh, compared=compared)
    )


def _fields_match(reviewed: Change, fresh: Change, *, compared: bool) -> bool:
    plain = [one for one in reviewed.fields if isinstance(one, FieldChange)]
    if plain != [one for one in fresh.fields if isinstance(one, FieldChange)]:
        return False
    before, after = _secret(reviewed), _secret(fresh)
    if before is SecretState.NOT_COMPARED or (not compared and before is SecretState.ROTATED):
        # a plan made without a key could not know what the platform has, nor whether it has it
        # already; a reconnect may follow from that
        return after in {SecretState.NOT_COMPARED, SecretState.ROTATED, SecretState.UNCHANGED}
    return before is after and reviewed.reconnects == fresh.reconnects


def _secret(change: Change) -> SecretState:
    return next(
        (one.secret for one in change.fields if isinstance(one, SecretChange)),
        SecretState.UNCHANGED,
    )
