"""Reading gateways: all of them at one moment, or one."""

import asyncio
import re
import sqlite3
import time
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from reconciler.service.access import Role
from reconciler.service.http.asking import whole_number, wrong_parameter
from reconciler.service.http.encoder import Encoded
from reconciler.service.http.pages import JSON, send_page
from reconciler.service.http.problems import Problem, not_there
from reconciler.service.http.routing import Call, Route
from reconciler.service.http.versions import version_of
from reconciler.service.store import Store

PAGE: Final = 1_000
LARGEST_PAGE: Final = 10_000
LONGEST_WAIT: Final = 60
_CURSOR: Final = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9]{1,9})")


async def gateways(call: Call) -> web.StreamResponse:
    """A page of a snapshot: the first page takes it, the others are read from it."""
    limit = whole_number(call, "limit", PAGE, 1, LARGEST_PAGE)
    cursor = call.request.query.get("cursor")
    now = time.monotonic()
    if cursor is None:
        name, start, found = "", 0, await all_gateways(call)
        if len(found) > limit:
            name = call.site.snapshots.keep(call.tenant, found, now)
    else:
        name, start, found = _kept(call, cursor, now)
    end = start + limit
    following = f"{name}.{end}" if end < len(found) else None
    return await send_page(call, found[start:end], len(found), following)


async def gateway(call: Call) -> web.StreamResponse:
    # nothing was waited for since the version was read
    known = call.site.encoder.remembered(call.tenant, call.name, call.version)
    return answer(known or await _one(call))


async def status(call: Call) -> web.StreamResponse:
    """The gateway, once it is no longer connecting or the wait is over."""
    seconds = whole_number(call, "wait", 0, 0, LONGEST_WAIT)
    await _one(call)
    if seconds:
        await _settled_or_closing(call, seconds)
    # read from the database: that is what the next reader sees as well
    return answer(await _one(call))


def answer(encoded: Encoded, status: int = 200) -> web.Response:
    """One gateway as an answer. Its tag is the revision, which a later write may name."""
    headers = {"Content-Type": JSON, "ETag": f'"{encoded.revision}"'}
    return web.Response(status=status, body=encoded.alone(), headers=headers)


async def _settled_or_closing(call: Call, seconds: int) -> None:
    settled = asyncio.ensure_future(
        call.site.supervisor.settled(call.tenant, call.name, seconds=seconds)
    )
    closing = asyncio.ensure_future(call.site.closing.wait())
    try:
        await asyncio.wait([settled, closing], return_when=asyncio.FIRST_COMPLETED)
        if settled.done():
            settled.result()
    finally:
        settled.cancel()
        closing.cancel()
        await asyncio.wait([settled, closing])


async def _one(call: Call) -> Encoded:
    encoder = call.site.encoder

    def job(connection: sqlite3.Connection) -> Encoded | None:
        version = version_of(connection)
        return encoder.gateway(Store(connection, call.tenant), call.name, version)

    found = await call.service.look(job)
    if found is None:
        raise not_there("this gateway")
    return found


async def all_gateways(call: Call) -> Sequence[Encoded]:
    """All of the tenant's gateways at one moment; call it before anything is waited for."""
    encoder = call.site.encoder
    known = encoder.all_remembered(call.tenant, call.version)
    return known if known is not None else await encoder.gateways(call.service, call.tenant)


def _kept(call: Call, cursor: str, now: float) -> tuple[str, int, Sequence[Encoded]]:
    written = _CURSOR.fullmatch(cursor)
    if written is None:
        raise wrong_parameter("cursor", "must be the next of a page")
    kept = call.site.snapshots.find(call.tenant, written[1], now)
    if kept is None:
        raise Problem(
            410,
            "snapshot-gone",
            "the snapshot of this cursor is kept no longer",
            "read again from the first page",
        )
    return written[1], int(written[2]), kept.gateways


ROUTES: Final = (
    Route("GET", "/v1/gateways", gateways, Role.READ),
    Route("GET", "/v1/gateways/{name}", gateway, Role.READ),
    Route("GET", "/v1/gateways/{name}/status", status, Role.READ),
)
