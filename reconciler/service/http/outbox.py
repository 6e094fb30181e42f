"""Sending through a gateway: taking messages over, and saying what has become of them."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from reconciler.errors import UnfitMessage
from reconciler.messages import MessageState, OutgoingMessage, SentMessage
from reconciler.model import Actor
from reconciler.service.access import Role
from reconciler.service.feed import About
from reconciler.service.http.asking import required_key, whole_number, wrong_parameter
from reconciler.service.http.bodies import read_json
from reconciler.service.http.contract import invalid, judge
from reconciler.service.http.problems import FieldError, Problem, not_there
from reconciler.service.http.repeats import once
from reconciler.service.http.routing import SMALL_BODY, Call, Route
from reconciler.service.mail.accept import QueueFull, accept
from reconciler.service.mail.decisions import Decisions
from reconciler.service.mail.outbox import Outbox
from reconciler.service.store import Store
from reconciler.wire_mail import outgoing_from, sent_data

PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
_MESSAGE: Final = 48 * 1024 * 1024
"""Bytes of a message as JSON: its attachments are in base64 here as they are on their way."""

_FULL_SECONDS: Final = 60


async def send(call: Call) -> web.StreamResponse:
    """Accepted means on disk."""
    key = required_key(call)
    body = await call.body()
    message = await _read(call, body)
    try:
        sent = await accept(call.service, call.tenant, call.name, message, key)
    except UnfitMessage as error:
        errors = [FieldError(error.field, error.why)]
        raise Problem(422, "invalid", error.message, error.hint, errors=errors) from None
    except QueueFull as error:
        raise _full(error) from None
    return web.json_response(
        {"id": sent.id, "state": sent.state.value},
        status=202,
        headers={"Location": f"/v1/gateways/{call.name}/outbox/{sent.id}"},
    )


async def messages(call: Call) -> web.StreamResponse:
    """A page of what was accepted, in that order; `after` is the cursor of the page before."""
    limit = whole_number(call, "limit", PAGE, 1, LARGEST_PAGE)
    query = call.request.query
    after, state = query.get("after", ""), _state(query.get("state"))

    def job(connection: sqlite3.Connection) -> tuple[SentMessage, ...]:
        _check_gateway(call, connection)
        outbox = Outbox(connection, call.tenant)
        return outbox.listed(call.name, state=state, after=after, limit=limit)

    found = await call.service.ask(job)
    cursor = found[-1].id if found else after
    return web.json_response({"messages": [sent_data(one) for one in found], "cursor": cursor})


async def message(call: Call) -> web.StreamResponse:
    def job(connection: sqlite3.Connection) -> SentMessage | None:
        _check_gateway(call, connection)
        return Outbox(connection, call.tenant).find(call.name, call.request.match_info["id"])

    found = await call.service.look(job)
    if found is None:
        raise not_there("this message")
    return web.json_response(sent_data(found))


async def resend(call: Call) -> web.StreamResponse:
    """Send again what nobody can tell the fate of."""
    lifetime = call.service.settings.outbox.lifetime
    return await _decided(call, lambda decisions, message: decisions.resend(message, lifetime))


async def give_up(call: Call) -> web.StreamResponse:
    """Make no further attempt."""
    return await _decided(call, Decisions.give_up)


async def _decided(
    call: Call, decide: Callable[[Decisions, str], SentMessage]
) -> web.StreamResponse:
    token = call.principal.token
    actor = Actor(f"token {token}", token=token)
    wanted = call.request.match_info["id"]

    def job(connection: sqlite3.Connection) -> Any:
        now = call.service.clock()
        decisions = Decisions(connection, call.tenant, call.name, actor, now)
        return once(call, connection, wanted, lambda: sent_data(decide(decisions, wanted)))

    answer = await call.service.write(job)
    call.service.feed.tell(About.OUTBOX, call.tenant, call.name)
    return web.json_response(answer)


async def _read(call: Call, body: bytes) -> OutgoingMessage:
    """A long body is read on a thread, so that nobody else has to wait for it."""
    if len(body) > SMALL_BODY:
        return await asyncio.to_thread(_message_of, call.request, body)
    return _message_of(call.request, body)


def _message_of(request: web.Request, body: bytes) -> OutgoingMessage:
    data = read_json(request, body)
    judge("OutgoingMessage", data)
    try:
        return outgoing_from(data)
    except ValueError:  # all but this was judged
        raise invalid([FieldError("attachments", "must have their content in base64")]) from None


def _full(error: QueueFull) -> Problem:
    if error.for_space:
        return Problem(507, "storage-full", error.message, error.hint)
    headers = {"Retry-After": str(_FULL_SECONDS)}
    return Problem(429, "too-many-requests", error.message, error.hint, headers=headers)


def _state(text: str | None) -> MessageState | None:
    try:
        return None if text is None else MessageState(text)
    except ValueError:
        known = ", ".join(one.value for one in MessageState)
        raise wrong_parameter("state", f"must be one of {known}") from None


def _check_gateway(call: Call, connection: sqlite3.Connection) -> None:
    if Store(connection, call.tenant).row(call.name) is None:
        raise not_there("this gateway")


ROUTES: Final = (
    Route("POST", "/v1/gateways/{name}/messages", send, Role.SEND, _MESSAGE),
    Route("GET", "/v1/gateways/{name}/outbox", messages, Role.SEND),
    Route("GET", "/v1/gateways/{name}/outbox/{id}", message, Role.SEND),
    Route("POST", "/v1/gateways/{name}/outbox/{id}/resend", resend, Role.SEND),
    Route("POST", "/v1/gateways/{name}/outbox/{id}/give-up", give_up, Role.SEND),
)
