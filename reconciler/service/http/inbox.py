"""Reading what came in: a page of messages, one of them, and its bytes as they came."""

import sqlite3
from typing import Final

from aiohttp import web

from reconciler.errors import Blocked
from reconciler.messages import InboxPage
from reconciler.model import Gateway, ProtocolType
from reconciler.service.access import Role
from reconciler.service.http.asking import whole_number, wrong_parameter
from reconciler.service.http.problems import Problem, not_there
from reconciler.service.http.routing import Call, Route
from reconciler.service.mail.inbox import Inbox, Kept
from reconciler.service.mail.reading import Archive
from reconciler.service.store import Store
from reconciler.wire_mail import inbox_data, view_data

PAGE: Final = 100
LARGEST_PAGE: Final = 1_000


async def messages(call: Call) -> web.StreamResponse:
    """A page; without a cursor it begins with the oldest message that is kept."""
    limit = whole_number(call, "limit", PAGE, 1, LARGEST_PAGE)
    after = call.request.query.get("after", "")

    def job(connection: sqlite3.Connection) -> InboxPage:
        _receiving(call, connection)
        try:
            return Inbox(connection, call.tenant).listed(call.name, after, limit)
        except ValueError:
            raise wrong_parameter("after", "must be the cursor of a page") from None

    page = await (call.service.look if limit <= PAGE else call.service.ask)(job)
    return web.json_response(inbox_data(page))


async def message(call: Call) -> web.StreamResponse:
    """One message, with what it says."""
    kept, gateway = await _kept(call)
    archive = Archive(call.service, call.tenant)
    try:
        view = await archive.view(call.site.readers, kept, gateway.encoding_mode)
    except TimeoutError:
        raise Problem(
            503,
            "busy",
            "too many messages are being read",
            "ask again in a few seconds",
            headers={"Retry-After": "5"},
        ) from None
    return web.json_response(view_data(kept.message, view))


async def raw(call: Call) -> web.StreamResponse:
    """A message as it came. One that was dropped meanwhile ends too early."""
    kept, _ = await _kept(call)
    if not kept.has_content:
        raise Problem(
            404,
            "not-found",
            "the content of this message was left on the mail server",
            "its defects say why; read it there",
        )
    response = web.StreamResponse(
        headers={
            "Content-Type": "message/rfc822",
            "Content-Length": str(kept.message.size),
            "Content-Disposition": f'attachment; filename="{kept.message.id}.eml"',
        }
    )
    await response.prepare(call.request)
    async for piece in Archive(call.service, call.tenant).content(kept):
        await response.write(piece)
    await response.write_eof()
    return response


async def _kept(call: Call) -> tuple[Kept, Gateway]:
    """The message that the path names. Raises Problem."""

    def job(connection: sqlite3.Connection) -> tuple[Kept | None, Gateway]:
        gateway = _receiving(call, connection)
        wanted = call.request.match_info["id"]
        return Inbox(connection, call.tenant).find(call.name, wanted), gateway

    kept, gateway = await call.service.look(job)
    if kept is None:
        raise not_there("this message")
    return kept, gateway


def _receiving(call: Call, connection: sqlite3.Connection) -> Gateway:
    actual = Store(connection, call.tenant).find(call.name)
    if actual is None:
        raise not_there("this gateway")
    if actual.gateway.protocol_type is ProtocolType.SMTP:
        raise Blocked(
            f"gateway {call.name!r} is one for SMTP: it sends, and receives nothing",
            "ask a gateway for IMAP or POP3",
        )
    return actual.gateway


ROUTES: Final = (
    Route("GET", "/v1/gateways/{name}/messages", messages, Role.SEND),
    Route("GET", "/v1/gateways/{name}/messages/{id}", message, Role.SEND),
    Route("GET", "/v1/gateways/{name}/messages/{id}/raw", raw, Role.SEND),
)
