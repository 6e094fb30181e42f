"""What a write needs and leads to, the same on every platform that stores gateways itself.

`now` is the moment of the write, UTC, ISO 8601 with a Z.
"""

from reconciler.errors import NotOurs, NotThere, RevisionMoved
from reconciler.model import Actor, ActualGateway, Cause, Gateway, State, Status, StatusState


def not_there(name: str) -> NotThere:
    return NotThere(f"gateway {name!r} is not on the platform", "make a new plan")


def at_revision(name: str, actual: ActualGateway | None, revision: str | None) -> ActualGateway:
    """The gateway, which must be there, and at this revision unless that is None.

    Raises:
        NotThere: there is none of this name.
        RevisionMoved: it is at another revision.

    """
    if actual is None:
        raise not_there(name)
    if revision is not None and revision != actual.revision:
        raise RevisionMoved(
            f"gateway {name!r} is at revision {actual.revision}, no longer at {revision}",
            "make a new plan",
        )
    return actual


def owned_by(owner: str, actual: ActualGateway) -> ActualGateway:
    """The gateway, which must be this owner's. Raises NotOurs."""
    if actual.owner != owner:
        holder = f"belongs to {actual.owner!r}" if actual.owner else "was made by hand"
        name = actual.gateway.name
        raise NotOurs(
            f"gateway {name!r} is not ours: it {holder}",
            f"take it over with: gateways adopt {name}",
        )
    return actual


def connecting(actor: Actor, now: str) -> Status:
    """The status of a connection that is to be made, or that nobody has looked at."""
    return Status(StatusState.CONNECTING, now, now, actor=actor.name)


def disconnected(cause: Cause, actor: Actor, now: str) -> Status:
    return Status(StatusState.DISCONNECTED, now, now, cause=cause, actor=actor.name)


def at_first(gateway: Gateway, actor: Actor, now: str) -> Status:
    """The status of a gateway as it was just declared."""
    if gateway.state is State.DISCONNECTED:
        return disconnected(Cause.DECLARED, actor, now)
    return connecting(actor, now)


def after_edit(
    actual: ActualGateway, gateway: Gateway, actor: Actor, now: str, *, reconnect: bool
) -> Status:
    """The status once `actual` has the fields of `gateway`; it stays where nothing ends it."""
    declared_again = actual.gateway.state is not gateway.state
    if gateway.state is State.DISCONNECTED:
        stays = actual.status.state is StatusState.DISCONNECTED and not declared_again
    else:
        stays = not (reconnect or declared_again)
    return actual.status if stays else at_first(gateway, actor, now)
