"""One gateway as the database has it, and the status that it is to have there."""

import logging
from collections.abc import Callable
from typing import Final

from reconciler.errors import PlatformUnavailable
from reconciler.model import ActualGateway, Status
from reconciler.service.faults import Unsound
from reconciler.service.supervisor.ledger import Key, Ledger

_LOG: Final = logging.getLogger("gateways.session")

Change = Callable[[Status, str], Status]
"""What a status becomes of the one before, at a moment."""


class Standing:
    """Stores each status, or where that cannot be done now, the latest one later."""

    __slots__ = ("_latest", "_ledger", "_unsaved", "actual", "key")

    def __init__(self, ledger: Ledger, key: Key, actual: ActualGateway) -> None:
        self.key = key
        self.actual = actual
        self._ledger = ledger
        self._latest: Change | None = None
        self._unsaved = False

    async def show(self, change: Change) -> None:
        """Store what the status becomes, if that is another one.

        Raises:
            Moved: the gateway was written meanwhile.
            Unsound: nothing can be stored any more.

        """
        self._latest, self._unsaved = change, False
        try:
            self.actual = await self._ledger.show(self.key, self.actual, change)
        except Unsound:
            raise
        except PlatformUnavailable as error:
            self._unsaved = True
            self.log(logging.ERROR, "status not stored: %s", error.message)

    async def save(self) -> None:
        """Store a status that could not be stored when it came about.

        One that comes about meanwhile was compared with what was stored before, so it is compared
        once more.
        """
        if not self._unsaved:
            return
        change = None
        while self._latest and self._latest is not change and not (change and self._unsaved):
            change = self._latest
            await self.show(change)

    def log(self, level: int, message: str, *values: object) -> None:
        extra = {
            "tenant": self.key.tenant,
            "gateway": self.key.gateway,
            "host": self.actual.gateway.host,
        }
        _LOG.log(level, "%s: " + message, self.key.gateway, *values, extra=extra)
