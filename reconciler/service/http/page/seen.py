"""What only the supervisor knows of a session, as stamps and words."""

from dataclasses import dataclass
from datetime import datetime

from reconciler.clock import stamp
from reconciler.service.supervisor.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Seen:
    """When the next attempt is due, what it waits for, and when the server's certificate ends."""

    next_attempt_at: str | None = None
    waiting: str | None = None
    certificate_ends_at: str | None = None


def seen_by(supervisor: Supervisor, tenant: str, name: str) -> Seen:
    facts = supervisor.facts(tenant, name)
    if facts is None:
        return Seen()
    return Seen(
        stamp(facts.next_attempt_at) if facts.next_attempt_at else None,
        facts.waiting.value if facts.waiting else None,
        stamp(facts.certificate_expires) if facts.certificate_expires else None,
    )


def ends_by(supervisor: Supervisor, tenant: str, name: str, moment: datetime) -> str | None:
    """When the server's certificate ends, if that is by this moment; cheap, for ten thousand."""
    facts = supervisor.facts(tenant, name)
    ends = facts.certificate_expires if facts else None
    return stamp(ends) if ends and ends <= moment else None
