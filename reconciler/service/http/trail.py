"""Reading the audit trail: who changed what, and with which token."""

import json
import sqlite3
from typing import Any, Final

from aiohttp import web

from reconciler.service.access import Role
from reconciler.service.http.asking import whole_number, wrong_parameter
from reconciler.service.http.routing import Call, Route

PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
_HIGHEST: Final = 999_999_999
_ORDERS: Final = {"asc": ("id > ?", "id"), "desc": ("id < ?", "id DESC")}
"""What comes after an entry, and how entries are sorted."""


async def trail(call: Call) -> web.StreamResponse:
    """A page in the order of writing, or against it; `cursor` asks for what comes after it.

    Entries are only ever added at one end, so no page repeats or leaves out what another has.
    """
    order = call.request.query.get("order", "asc")
    if order not in _ORDERS:
        raise wrong_parameter("order", "must be asc or desc")
    beyond, sorting = _ORDERS[order]
    limit = whole_number(call, "limit", PAGE, 1, LARGEST_PAGE)
    after = whole_number(call, "after", 0, 0, _HIGHEST)
    start = after or (_HIGHEST + 1 if order == "desc" else 0)
    gateway = call.request.query.get("gateway")
    whose = "? IS NULL" if gateway is None else "gateway = ?"  # each has its index

    def page(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        return connection.execute(
            "SELECT id, at, actor, git_commit, run, "  # noqa: S608 - no value is in the text
            "gateway, action, revision, changes, token "
            f"FROM audit WHERE tenant = ? AND {beyond} AND {whose} "
            f"ORDER BY {sorting} LIMIT ?",
            (call.tenant, start, gateway, limit),
        ).fetchall()

    rows = await call.service.ask(page)
    cursor = str(rows[-1][0]) if rows else str(after)
    return web.json_response({"entries": [_entry(row) for row in rows], "cursor": cursor})


def _entry(row: tuple[Any, ...]) -> dict[str, Any]:
    _, at, actor, commit, run, gateway, action, revision, changes, token = row
    return {
        "at": at,
        "actor": actor,
        "commit": commit,
        "run": run,
        "gateway": gateway,
        "action": action,
        "revision": str(revision),
        "changes": json.loads(changes),
        "token": token,
    }


ROUTES: Final = (Route("GET", "/v1/audit", trail, Role.READ),)
