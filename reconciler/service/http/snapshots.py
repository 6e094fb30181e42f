"""All of a tenant's gateways at one moment, kept for a while so that it can be read in pages."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.service.http.encoder import Encoded

KEPT_SECONDS: Final = 120.0
KEPT_PER_TENANT: Final = 4


@dataclass(frozen=True, slots=True)
class Snapshot:
    gateways: Sequence[Encoded]
    until: float


class Snapshots:
    """Read-only once taken, and found only by whoever was given its name. Times are monotonic."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[str, Snapshot]] = {}

    def keep(self, tenant: str, gateways: Sequence[Encoded], now: float) -> str:
        """Keep one, in the place of the tenant's oldest if there are too many; gives its name."""
        kept = self._living(tenant, now)
        while len(kept) >= KEPT_PER_TENANT:
            del kept[next(iter(kept))]
        name = secrets.token_urlsafe(16)
        kept[name] = Snapshot(gateways, now + KEPT_SECONDS)
        return name

    def find(self, tenant: str, name: str, now: float) -> Snapshot | None:
        """None if it was given up, or never was this tenant's."""
        return self._living(tenant, now).get(name)

    def _living(self, tenant: str, now: float) -> dict[str, Snapshot]:
        for other in list(self._tenants):
            living = {name: one for name, one in self._tenants[other].items() if one.until > now}
            if living:
                self._tenants[other] = living
            else:
                del self._tenants[other]
        return self._tenants.setdefault(tenant, {})
