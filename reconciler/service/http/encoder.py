"""Gateways as JSON, by their rows: what has not changed is not encoded a second time.

Ten thousand gateways are asked for again and again, and hardly one of them is another than before.
"""

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.model import ActualGateway
from reconciler.service.http.versions import Version, version_of
from reconciler.service.service import Service
from reconciler.service.store import Store
from reconciler.wire import actual_data, certificates_of

_MOST: Final = 100_000
"""Gateways that are remembered, of all tenants; about 3 KiB each."""

_AT_ONCE: Final = 200

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Encoded:
    """One gateway: `data` is a JSON object; `certificates` are those that it speaks of."""

    row: Sequence[Any]
    revision: str
    data: bytes
    certificates: Mapping[str, bytes]

    def alone(self) -> bytes:
        """The gateway as an answer of its own, its certificates in it."""
        return self.data[:-1] + b',"certificates":{' + listed([self]) + b"}}"


def listed(gateways: Iterable[Encoded]) -> bytes:
    """The certificates of gateways as the members of a JSON object, each once."""
    found: dict[str, bytes] = {}
    for one in gateways:
        found.update(one.certificates)
    return b",".join(found.values())


class Encoder:
    """Remembers what it encoded, and at which version of the database that was so.

    Nothing is asked of the database while its version stays the same; where it is another, rows are
    compared.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Encoded] = {}
        self._versions: dict[tuple[str, str], Version] = {}
        self._lists: dict[str, tuple[Version, Sequence[Encoded]]] = {}
        self._certificates: dict[str, bytes] = {}

    def remembered(self, tenant: str, name: str, version: Version) -> Encoded | None:
        """A gateway as it was at a version, if that is known."""
        key = (tenant, name)
        return self._known[key] if self._versions.get(key) == version else None

    def all_remembered(self, tenant: str, version: Version) -> Sequence[Encoded] | None:
        """All gateways as they were at a version, if that is known."""
        at, found = self._lists.get(tenant, (None, None))
        return found if at == version else None

    def gateway(self, store: Store, name: str, version: Version) -> Encoded | None:
        """A gateway as it is, in a job on the database; `version` is one that was read before."""
        row = store.row(name)
        if row is None:
            return None
        key = (store.tenant, name)
        known = self._known.get(key)
        if known is None or known.row != row:
            known = self._take(key, row, store.restore(row))
        self._versions[key] = version
        return known

    async def gateways(self, service: Service, tenant: str) -> Sequence[Encoded]:
        """All of a tenant's at one moment, sorted by name."""
        version, found, fresh = await service.ask(
            lambda connection: (version_of(connection), *self._sorted_out(connection, tenant))
        )
        for number, (row, actual) in enumerate(fresh, 1):
            found.append(self._take((tenant, row[0]), row, actual))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # there may be thousands, and others have questions too
        if fresh:
            found.sort(key=lambda one: one.row[0])
        self._lists[tenant] = (version, found)
        return found

    def _sorted_out(
        self, connection: sqlite3.Connection, tenant: str
    ) -> tuple[list[Encoded], list[tuple[Sequence[Any], ActualGateway]]]:
        """What is known already, and the rest with its rows. In a job on the database."""
        store = Store(connection, tenant)
        found, fresh = [], []
        for row in store.rows():
            known = self._known.get((tenant, row[0]))
            if known and known.row == row:
                found.append(known)
            else:
                fresh.append(row)
        return found, list(zip(fresh, store.restored(fresh), strict=True)) if fresh else []

    def encoded(self, actual: ActualGateway, row: Sequence[Any] = ()) -> Encoded:
        """A gateway as a write answered it."""
        certificates = {
            digest: self._certificate(digest, pem)
            for digest, pem in certificates_of(actual).items()
        }
        return Encoded(row, actual.revision, _encode(actual_data(actual)).encode(), certificates)

    def _take(self, key: tuple[str, str], row: Sequence[Any], actual: ActualGateway) -> Encoded:
        if len(self._known) >= _MOST:
            for remembered in (self._known, self._versions, self._lists, self._certificates):
                remembered.clear()
        encoded = self._known[key] = self.encoded(actual, row)
        return encoded

    def _certificate(self, digest: str, pem: str) -> bytes:
        """Shared, since thousands of gateways speak of the same."""
        found = self._certificates.get(digest)
        if found is None:
            found = f"{_encode(digest)}:{_encode(pem)}".encode()
            self._certificates[digest] = found
        return found
