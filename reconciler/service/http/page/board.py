"""Reading what a view shows, for everybody who looks at the same tenant at once."""

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from reconciler.service.http.page.certificates import Anchors
from reconciler.service.http.page.index import SOON, Index, make_index, read_rows
from reconciler.service.http.page.rows import Known, Shown, read_shown
from reconciler.service.http.page.seen import ends_by, seen_by
from reconciler.service.http.page.view import PAGE_SIZE, View
from reconciler.service.http.routing import Site

FRESH_SECONDS: Final = 0.5
"""An index is read no more often than this: in a storm ten thousand gateways change at once."""


@dataclass(frozen=True, slots=True)
class Board:
    """What one view shows. `view.page` is a page that there is.

    `total` counts all gateways of the tenant, `matching` those that fit the view. `sealed` says
    that the service has no key for its passwords; `seconds`, how long reading the gateways took.
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
    seconds: float = field(compare=False, repr=False)

    @property
    def digest(self) -> str:
        """Two boards with one digest look the same."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:32]


class Boards:
    """Reads boards. What all of a tenant's views begin with is read once for all of them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._anchors = Anchors()
        self._indexes: dict[str, tuple[float, Index]] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def read(self, tenant: str, view: View, *, since: float | None = None) -> Board:
        """The board as it is, or was at a moment since (monotonic seconds): else a moment ago."""
        index = await self._index(
            tenant, time.monotonic() - FRESH_SECONDS if since is None else since
        )
        matching = index.matching(view)
        pages = max(1, -(-len(matching) // PAGE_SIZE))
        view = replace(view, page=min(view.page, pages))
        first = (view.page - 1) * PAGE_SIZE
        names = [entry.name for entry in matching[first : first + PAGE_SIZE]]
        started = time.monotonic()
        shown, sealed = await self._shown(tenant, names)
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
            time.monotonic() - started,
        )

    async def one(self, tenant: str, name: str) -> Shown | None:
        """One gateway as it is now."""
        found, _ = await self._shown(tenant, [name])
        return next(iter(found), None)

    def is_stale(self, tenant: str, board: Board) -> bool:
        """Whether sessions have come further without anything being stored."""
        supervisor = self._site.supervisor
        return any(one.seen != seen_by(supervisor, tenant, one.name) for one in board.shown)

    def forget(self, tenant: str) -> None:
        """Read anew next time: somebody wants to see what he has just done."""
        self._indexes.pop(tenant, None)

    async def _shown(self, tenant: str, names: Sequence[str]) -> tuple[tuple[Shown, ...], bool]:
        service, supervisor = self._site.service, self._site.supervisor
        seen, now = {name: seen_by(supervisor, tenant, name) for name in names}, service.clock()

        def read(connection: sqlite3.Connection) -> tuple[tuple[Shown, ...], bool]:
            known = Known(seen, self._anchors.read(connection, tenant), now)
            sealed = service.sealed(connection) != ""
            return read_shown(connection, tenant, names, known), sealed

        return await service.ask(read)

    async def _index(self, tenant: str, since: float) -> Index:
        """All of a tenant's gateways in few words, read no earlier than at that moment.

        It is read so often and no more: who comes first waits, and the others have it from him.
        """
        async with self._reading.setdefault(tenant, asyncio.Lock()):
            read_at, index = self._indexes.get(tenant, (0.0, None))
            if index and read_at >= since:
                return index
            if index:
                await asyncio.sleep(read_at + FRESH_SECONDS - time.monotonic())
            read_at, index = time.monotonic(), await self._read_index(tenant)
            self._indexes[tenant] = read_at, index
            return index

    async def _read_index(self, tenant: str) -> Index:
        service, supervisor = self._site.service, self._site.supervisor
        rows, anchors = await service.ask(
            lambda connection: (
                read_rows(connection, tenant),
                self._anchors.read(connection, tenant),
            )
        )
        now = service.clock()
        return make_index(
            rows, anchors, lambda name: ends_by(supervisor, tenant, name, now + SOON), now
        )
