"""Whether what would be done now is what was reviewed: equal, or less."""

from reconciler.errors import StalePlan
from reconciler.model import Action, Change, FieldChange, Plan, SecretChange, SecretState

AGAIN = "plan again, review that, and apply it"


def accept(saved: Plan, fresh: Plan, *, budgets_given: bool) -> None:
    """Refuse `fresh` unless each of its changes was reviewed; fewer changes are fine.

    `budgets_given` says that whoever applies has raised a budget by hand, which unblocks changes
    that the saved plan shows as blocked.

    Raises:
        StalePlan: the declarations, the platform or the target are no longer those of the plan.

    """
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
    for change in fresh.planned:
        before = reviewed.get(change.gateway)
        if before is None and not saved.secrets_compared and _only_sends_password(change):
            continue  # without a key the plan said that passwords were not compared
        if before is None or not _same(before, change):
            raise StalePlan(
                f"gateway {change.gateway} is no longer as it was when the plan was made: "
                f"{change.action}, because {change.reason}, was not reviewed",
                AGAIN,
            )
        if before.blocked and not budgets_given:
            raise StalePlan(
                f"gateway {change.gateway} is blocked in the saved plan, and would not be now",
                AGAIN,
            )


def _only_sends_password(change: Change) -> bool:
    return change.action is Action.EDIT and all(
        isinstance(one, SecretChange)
        and one.secret in {SecretState.ROTATED, SecretState.NOT_COMPARED}
        for one in change.fields
    )


def _same(reviewed: Change, fresh: Change) -> bool:
    """All that has an effect; where a declaration stands and how a reason reads has none."""
    return (
        reviewed.action is fresh.action
        and reviewed.revision == fresh.revision
        and _fields_match(reviewed, fresh)
    )


def _fields_match(reviewed: Change, fresh: Change) -> bool:
    plain = [one for one in reviewed.fields if isinstance(one, FieldChange)]
    if plain != [one for one in fresh.fields if isinstance(one, FieldChange)]:
        return False
    before, after = _secret(reviewed), _secret(fresh)
    if before is SecretState.NOT_COMPARED:
        # a plan made without a key could not know; a reconnect may follow from that
        return after in {SecretState.NOT_COMPARED, SecretState.ROTATED, SecretState.UNCHANGED}
    return before is after and reviewed.reconnects == fresh.reconnects


def _secret(change: Change) -> SecretState:
    return next(
        (one.secret for one in change.fields if isinstance(one, SecretChange)),
        SecretState.UNCHANGED,
    )
