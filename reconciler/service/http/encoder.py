"""Gateways as JSON, by their rows: what has not changed is not encoded a second time.

Ten thousand gateways are asked for again and again, and hardly one of them is another than before.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.model import ActualGateway
from reconciler.service.store import Store
from reconciler.wire import actual_data, certificates_of

_MOST: Final = 100_000
"""Gateways that are remembered, of all tenants; about 3 KiB each."""

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
    """Remembers what it encoded. Only ever used in a job on the database."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Encoded] = {}
        self._certificates: dict[str, bytes] = {}

    def gateway(self, store: Store, name: str) -> Encoded | None:
        row = store.row(name)
        if row is None:
            return None
        known = self._known.get((store.tenant, name))
        return known if known and known.row == row else self._take(store, row, store.restore(row))

    def gateways(self, store: Store) -> list[Encoded]:
        """All of a tenant's at one moment, sorted by name."""
        found = []
        fresh = []
        for row in store.rows():
            known = self._known.get((store.tenant, row[0]))
            if known and known.row == row:
                found.append(known)
            else:
                fresh.append(row)
        if not fresh:
            return found
        for row, actual in zip(fresh, store.restored(fresh), strict=True):
            found.append(self._take(store, row, actual))
        return sorted(found, key=lambda one: one.row[0])

    def encoded(self, actual: ActualGateway, row: Sequence[Any] = ()) -> Encoded:
        """A gateway as a write answered it."""
        certificates = {
            digest: self._certificate(digest, pem)
            for digest, pem in certificates_of(actual).items()
        }
        return Encoded(row, actual.revision, _encode(actual_data(actual)).encode(), certificates)

    def _take(self, store: Store, row: Sequence[Any], actual: ActualGateway) -> Encoded:
        if len(self._known) >= _MOST:
            self._known.clear()
            self._certificates.clear()
        encoded = self._known[store.tenant, row[0]] = self.encoded(actual, row)
        return encoded

    def _certificate(self, digest: str, pem: str) -> bytes:
        """Shared, since thousands of gateways speak of the same."""
        found = self._certificates.get(digest)
        if found is None:
            found = f"{_encode(digest)}:{_encode(pem)}".encode()
            self._certificates[digest] = found
        return found
