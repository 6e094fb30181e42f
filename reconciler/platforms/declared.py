"""What a commit declares, in a platform's place: for plans made where no platform can be asked."""

from collections.abc import Collection, Mapping, Sequence

from reconciler.model import (
    AT_BASE,
    ActualGateway,
    Cause,
    DesiredGateway,
    Happening,
    Snapshot,
    State,
    Status,
    StatusState,
)


class DeclaredPlatform:
    """Has the gateways as they were declared, all of them ours.

    Their sessions count as up, and as never looked at: so they are no reason for a change, and are
    not said to have worked before one.

    `told` says that people operate the platform that it stands for; `errors` is how many the
    declarations have there: what is invalid is not among the gateways.
    """

    def __init__(
        self, declared: Sequence[DesiredGateway], owner: str, *, told: bool, errors: int = 0
    ) -> None:
        self.errors = errors
        self._told = told
        self._gateways = tuple(_as_applied(one, owner) for one in declared)

    async def read(self, *, refresh: bool = False) -> Snapshot:
        return Snapshot(self._gateways, supervised=True, told=self._told)

    async def history(self, names: Collection[str]) -> Mapping[str, tuple[Happening, ...]]:
        return dict.fromkeys(names, ())

    async def close(self) -> None:
        """Nothing is open."""


def _as_applied(one: DesiredGateway, owner: str) -> ActualGateway:
    status = Status(StatusState.SUCCEEDED, "", "")
    if one.gateway.state is State.DISCONNECTED:
        status = Status(StatusState.DISCONNECTED, "", "", cause=Cause.DECLARED)
    return ActualGateway(
        one.gateway,
        status,
        revision="",
        owner=owner,
        # a ciphertext where the target compares by these; else what rotation says of it
        fingerprint=one.fingerprint or AT_BASE,
        has_password=one.secret is not None,
        applied=one.gateway,
    )
