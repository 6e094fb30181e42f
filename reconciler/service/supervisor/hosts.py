"""What gateways on one mail host share: the pace, and what is known of the server."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakSet, WeakValueDictionary

from reconciler.model import Failure, Gateway
from reconciler.service.supervisor.accounts import Account
from reconciler.service.supervisor.breaker import CONFIRMED, Breaker
from reconciler.service.supervisor.pace import Pace
from reconciler.service.supervisor.settings import SupervisorSettings

_LOG: Final = logging.getLogger("gateways.supervisor")

LIE_SECONDS: Final = 300.0
LIE_LEAST: Final = 3
LIE_SHARE: Final = 0.2
"""A server that refuses so many that worked before, and such a share of them, within so long, is
taken to be at fault itself."""

_SLOWEST_SECONDS: Final = 3600.0


@dataclass(slots=True, eq=False, weakref_slot=True)
class Host:
    pace: Pace


@dataclass(slots=True, eq=False, weakref_slot=True)
class Endpoint:
    """One port of a host. `answers` is about connections, `logins` about the refusal of all."""

    host: Host
    answers: Breaker
    logins: Breaker
    _worked: WeakSet[Account] = field(default_factory=WeakSet)
    _refused: dict[Account, float] = field(default_factory=dict)

    def works(self, account: Account) -> None:
        """The login is one that the server accepted."""
        self._worked.add(account)

    def accepted(self, account: Account) -> None:
        self.works(account)
        self._refused.pop(account, None)

    def refused(self, account: Account, failure: Failure) -> list[Account]:
        """Note the refusal of a login that worked before.

        Returns those whose refusals are the server's fault: none, unless it refuses too many.
        """
        now = asyncio.get_running_loop().time()
        self._refused = {
            one: at for one, at in self._refused.items() if now - at <= LIE_SECONDS
        } | {account: now}
        fresh = list(self._refused)
        if len(fresh) < LIE_LEAST or len(fresh) <= LIE_SHARE * len(self._worked):
            return []
        self._refused.clear()
        self.logins.trip(failure)
        return fresh


class Hosts:
    """Every host that a gateway of this process is on, for as long as one is."""

    def __init__(self, settings: SupervisorSettings) -> None:
        self._settings = settings
        self._whole = Pace(settings.all_connections)
        self._hosts: WeakValueDictionary[str, Host] = WeakValueDictionary()
        self._endpoints: WeakValueDictionary[tuple[str, int], Endpoint] = WeakValueDictionary()

    def endpoint(self, gateway: Gateway) -> Endpoint:
        place = (gateway.host, gateway.port)
        endpoint = self._endpoints.get(place)
        if endpoint is None:
            host = self._hosts.get(gateway.host)
            if host is None:
                host = Host(Pace(self._settings.host_connections, self._whole))
                self._hosts[gateway.host] = host
            endpoint = Endpoint(
                host,
                Breaker(changed=_Teller(place, "does not answer", "answers again")),
                Breaker(
                    self._slowly,
                    trusting=True,
                    changed=_Teller(place, "refuses logins that worked before", "accepts logins"),
                ),
            )
            self._endpoints[place] = endpoint
        return endpoint

    def _slowly(self, failures: int, _outage: float) -> float:
        """At first soon, since the next may be accepted; then slowly, so that none is locked."""
        soon = self._settings.refused / 10
        return min(soon * 10.0 ** min(failures - CONFIRMED, 16), _SLOWEST_SECONDS)


@dataclass(frozen=True, slots=True)
class _Teller:
    """Writes to the log what becomes of a server."""

    place: tuple[str, int]
    stopped: str
    resumed: str

    def __call__(self, failure: Failure | None) -> None:
        host, port = self.place
        extra = {"host": host, "port": port}
        if failure:
            _LOG.warning("%s:%d %s: %s", host, port, self.stopped, failure.message, extra=extra)
        else:
            _LOG.info("%s:%d %s", host, port, self.resumed, extra=extra)
