"""Keeps the session of every gateway that was given to this process."""

from collections.abc import Mapping

from reconciler.model import ActualGateway, ProtocolType
from reconciler.service.service import Service
from reconciler.service.supervisor.facts import Counts, Facts
from reconciler.service.work import KEEP_ONLY, Work


class Supervisor:
    """Runs from `run` until that is cancelled; then every session has been closed."""

    def __init__(self, service: Service, works: Mapping[ProtocolType, Work] = KEEP_ONLY) -> None:
        self._service = service
        self._works = works

    async def run(self) -> None:
        """Keep sessions until cancelled."""
        raise NotImplementedError

    async def settled(self, tenant: str, name: str, *, seconds: float) -> ActualGateway:
        """Wait until the gateway is no longer connecting, `seconds` at most; then as it is."""
        raise NotImplementedError

    def facts(self, tenant: str, name: str) -> Facts | None:
        """What is known of a gateway's session now; None for one that is not this process's."""
        return None

    def counts(self) -> Counts:
        """Sessions, reconnects and failures of this process."""
        return Counts({}, 0, {}, 0)
