"""Reading the audit trail: who changed what, and with which token."""

import json
import sqlite3
from typing import Any, Final

from aiohttp import web

from reconciler.service.access import Role
from reconciler.service.http.asking import whole_number
from reconciler.service.http.routing import Call, Route

PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
_HIGHEST: Final = 999_999_999


async def trail(call: Call) -> web.StreamResponse:
    """A page in the order of writing; `cursor` asks for what comes after it."""
    limit = whole_number(call, "limit", PAGE, 1, LARGEST_PAGE)
    after = whole_number(call, "after", 0, 0, _HIGHEST)
    gateway = call.request.query.get("gateway")

    def page(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        return connection.execute(
            "SELECT id, at, actor, git_commit, run, gateway, action, revision, changes, token "
            "FROM audit WHERE tenant = ? AND id > ? AND (? IS NULL OR gateway = ?) "
            "ORDER BY id LIMIT ?",
            (call.tenant, after, gateway, gateway, limit),
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
