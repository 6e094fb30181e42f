"""Reading what a view shows, for everybody who looks at the same tenant at once."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from reconciler.service.http.page.index import Index, make_index, read_rows
from reconciler.service.http.page.rows import Shown, read_shown
from reconciler.service.http.page.seen import seen_by
from reconciler.service.http.page.view import PAGE_SIZE, View
from reconciler.service.http.routing import Site

FRESH_SECONDS: Final = 0.5
"""So long an index serves everybody: in a storm ten thousand gateways change at once."""


@dataclass(frozen=True, slots=True)
class Board:
    """What one view shows. `view.page` is a page that there is.

    `total` counts all gateways of the tenant, `matching` those that fit the view. `sealed` says
    that the service has no key for its passwords.
    """

    view: View
    total: int
    counts: Mapping[str, int]
    ending: int
    labels: tuple[str, ...]
    matching: int
    pages: int
    shown: tuple[Shown, ...]
    sealed: bool

    @property
    def digest(self) -> str:
        """Two boards with one digest look the same."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:32]


class Boards:
    """Reads boards. What all of a tenant's views begin with is read once for all of them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._indexes: dict[str, tuple[float, Index]] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def read(self, tenant: str, view: View) -> Board:
        index = await self._index(tenant)
        matching = index.matching(view)
        pages = max(1, -(-len(matching) // PAGE_SIZE))
        view = replace(view, page=min(view.page, pages))
        first = (view.page - 1) * PAGE_SIZE
        names = [entry.name for entry in matching[first : first + PAGE_SIZE]]
        seen = {name: seen_by(self._site.supervisor, tenant, name) for name in names}
        service = self._site.service
        now = service.clock()
        shown, sealed = await service.ask(
            lambda connection: (
                read_shown(connection, tenant, names, seen, now),
                bool(service.sealed(connection)),
            )
        )
        return Board(
            view,
            len(index.entries),
            index.counts,
            index.ending,
            index.labels,
            len(matching),
            pages,
            shown,
            sealed,
        )

    async def one(self, tenant: str, name: str) -> Shown | None:
        """One gateway as it is now."""
        service = self._site.service
        seen, now = {name: seen_by(self._site.supervisor, tenant, name)}, service.clock()
        found = await service.ask(
            lambda connection: read_shown(connection, tenant, [name], seen, now)
        )
        return next(iter(found), None)

    def forget(self, tenant: str) -> None:
        """Read anew next time: somebody wants to see what he has just done."""
        self._indexes.pop(tenant, None)

    async def _index(self, tenant: str) -> Index:
        async with self._reading.setdefault(tenant, asyncio.Lock()):
            read_at, index = self._indexes.get(tenant, (0.0, None))
            if index is None or time.monotonic() - read_at > FRESH_SECONDS:
                service = self._site.service
                rows, anchors = await service.ask(lambda connection: read_rows(connection, tenant))
                index = make_index(
                    rows,
                    anchors,
                    lambda name: seen_by(self._site.supervisor, tenant, name).certificate_ends_at,
                    service.clock(),
                )
                self._indexes[tenant] = time.monotonic(), index
            return index
