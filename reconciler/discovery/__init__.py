"""From a mail address to the servers that may be its own: proposals, for a person to confirm.

What comes from DNS comes from whoever answers, so nothing here is more than a proposal, and nothing
here opens a connection of its own: `probe` is given what does.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from reconciler.model import EncryptionMode, ProtocolType

BEST_FIRST: Final = (EncryptionMode.TLS, EncryptionMode.STARTTLS)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A server that may be the right one; `source` says in words where that is known from.

    `authentic` says that it comes with this program, so that nobody on the way can have made it up.
    """

    protocol: ProtocolType
    host: str
    port: int
    encryption: EncryptionMode
    source: str
    authentic: bool = False

    @property
    def place(self) -> tuple[str, int, EncryptionMode]:
        return self.host, self.port, self.encryption


@dataclass(frozen=True, slots=True)
class Findings:
    """Proposals, the best first, and what there is to say of them.

    `absent` are the protocols of which the domain itself says that it has none.
    """

    proposals: tuple[Proposal, ...] = ()
    notes: tuple[str, ...] = ()
    absent: frozenset[ProtocolType] = field(default_factory=frozenset)

    def of(self, protocol: ProtocolType) -> tuple[Proposal, ...]:
        """Those for one protocol, each server once."""
        found = {one.place: one for one in reversed(self.proposals) if one.protocol is protocol}
        return tuple(reversed(found.values()))

    def lacks(self, wanted: Iterable[ProtocolType]) -> tuple[ProtocolType, ...]:
        """The protocols for which nothing was found, and not because there is none."""
        return tuple(one for one in wanted if not self.of(one) and one not in self.absent)

    def joined(self, other: "Findings") -> "Findings":
        return Findings(
            (*self.proposals, *other.proposals),
            (*self.notes, *other.notes),
            self.absent | other.absent,
        )


def is_inside(host: str, domain: str) -> bool:
    """Whether a host is the domain itself, or below it."""
    return host == domain or host.endswith(f".{domain}")
