"""What all keepers of a process stand on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model import FailureKind, ProtocolType
from reconciler.service.service import Service
from reconciler.service.supervisor.door import Door
from reconciler.service.supervisor.ledger import Ledger
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.work import Work


@dataclass(frozen=True, slots=True)
class Ground:
    """`failures` counts attempts that failed, and sessions that were lost."""

    service: Service
    ledger: Ledger
    door: Door
    works: Mapping[ProtocolType, Work]
    settings: SupervisorSettings
    failures: Counter[FailureKind] = field(default_factory=Counter)
