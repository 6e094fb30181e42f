"""Which gateways are this process's. Something else may decide that: a supervisor only follows."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from reconciler.service.feed import About
from reconciler.service.supervisor.ledger import Key, Ledger


@dataclass(frozen=True, slots=True)
class Assigned:
    """These gateways are this process's from now on, or (`ours` False) no longer."""

    keys: tuple[Key, ...]
    ours: bool = True


class Assignment(Protocol):
    def changes(self) -> AsyncIterator[Assigned]:
        """First what is assigned now, then each change, for as long as it is listened to."""
        ...


class Everything:
    """All gateways of the database: there is no other process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def changes(self) -> AsyncIterator[Assigned]:
        with self._ledger.service.feed.listen(About.GATEWAY) as listener:
            yield Assigned(await self._ledger.keys())
            while True:
                changed = await listener.next()
                yield Assigned((Key(changed.tenant, changed.gateway),))
