"""Where received messages are announced: registering, rotating secrets, and what is stuck."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final, TypeVar

from aiohttp import web

from reconciler.clock import stamp
from reconciler.errors import InvalidInput
from reconciler.model import ProtocolType, Secret, SecretState
from reconciler.service.access import Role
from reconciler.service.feed import About
from reconciler.service.http.asking import digest_of, key_of, whole_number, wrong_parameter
from reconciler.service.http.contract import invalid, judge
from reconciler.service.http.problems import FieldError, Problem, not_there
from reconciler.service.http.routing import Call, Route
from reconciler.service.mail.webhook_queue import Delivery, DeliveryState, Webhook
from reconciler.service.mail.webhook_store import Repeat, Webhooks
from reconciler.service.mail.webhook_target import target
from reconciler.service.store import AuditEntry, Store

T = TypeVar("T")

PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
_HIGHEST: Final = 999_999_999
_SET: Final = {"field": "secret", "secret": SecretState.SET.value}
_ROTATED: Final = {"field": "secret", "secret": SecretState.ROTATED.value}
_SECOND: Final = len("2026-11-22T10:00:00")


async def add(call: Call) -> web.StreamResponse:
    """Register a URL; the answer alone shows the secret."""
    body = await call.json()
    judge("WebhookRequest", body)
    url, gateway = _url(call, body["url"]), body.get("gateway")
    repeat = Repeat(key_of(call), digest_of(body))

    def job(connection: sqlite3.Connection) -> tuple[dict[str, Any], Secret]:
        _check_gateway(Store(connection, call.tenant), gateway)
        webhooks = _webhooks(call, connection)
        webhook, secret, is_new = webhooks.register(url, gateway, repeat)
        if is_new:
            _audit(call, connection, "webhook add", webhook, [_field(None, webhook.id), _SET])
        return _shown(webhooks, webhook), secret

    shown, secret = await _written(call, job)
    return web.json_response(
        {**shown, "secret": secret.reveal()},
        status=201,
        headers={"Location": f"/v1/webhooks/{shown['id']}"},
    )


async def listed(call: Call) -> web.StreamResponse:
    def job(connection: sqlite3.Connection) -> list[dict[str, Any]]:
        webhooks = _webhooks(call, connection)
        return [_shown(webhooks, webhook) for webhook in webhooks.listed()]

    return web.json_response({"webhooks": await call.service.ask(job)})


async def read(call: Call) -> web.StreamResponse:
    def job(connection: sqlite3.Connection) -> dict[str, Any]:
        webhooks = _webhooks(call, connection)
        return _shown(webhooks, _named(call, webhooks))

    return web.json_response(await call.service.ask(job))


async def remove(call: Call) -> web.StreamResponse:
    def job(connection: sqlite3.Connection) -> None:
        webhooks = _webhooks(call, connection)
        webhook = _named(call, webhooks)
        webhooks.remove(webhook)
        _audit(call, connection, "webhook remove", webhook, [_field(webhook.id, None)])

    await _written(call, job)
    return web.Response(status=204)


async def rotate(call: Call) -> web.StreamResponse:
    repeat = Repeat(key_of(call), call.request.match_info["id"])

    def job(connection: sqlite3.Connection) -> tuple[dict[str, Any], Secret]:
        webhooks = _webhooks(call, connection)
        webhook = _named(call, webhooks)
        secret, is_new = webhooks.rotate(webhook, repeat)
        if is_new:
            _audit(call, connection, "webhook rotate", webhook, [{"webhook": webhook.id}, _ROTATED])
        return _shown(webhooks, webhook), secret

    shown, secret = await _written(call, job)
    return web.json_response({**shown, "secret": secret.reveal()})


async def retry(call: Call) -> web.StreamResponse:
    """Send again what was given up, and do not wait any longer with the rest."""
    body = await call.json()
    judge("WebhookRetry", body)

    def job(connection: sqlite3.Connection) -> dict[str, Any]:
        webhooks = _webhooks(call, connection)
        webhook = _named(call, webhooks)
        count = webhooks.retry(webhook, body.get("messages"))
        _audit(call, connection, "webhook retry", webhook, [{"webhook": webhook.id}])
        return {**_shown(webhooks, _named(call, webhooks)), "retried": count}

    return web.json_response(await _written(call, job))


async def deliveries(call: Call) -> web.StreamResponse:
    """What a webhook is still to be told, or what was given up."""
    limit = whole_number(call, "limit", PAGE, 1, LARGEST_PAGE)
    after = whole_number(call, "after", 0, 0, _HIGHEST)
    try:
        state = DeliveryState(call.request.query.get("state", DeliveryState.GIVEN_UP))
    except ValueError:
        raise wrong_parameter("state", "must be waiting or given up") from None

    def job(connection: sqlite3.Connection) -> tuple[Delivery, ...]:
        webhooks = _webhooks(call, connection)
        return webhooks.deliveries(_named(call, webhooks), state, after, limit)

    found = await call.service.ask(job)
    cursor = str(found[-1].number if found else after)
    return web.json_response({"deliveries": [_delivery(one) for one in found], "cursor": cursor})


async def _written(call: Call, job: Callable[[sqlite3.Connection], T]) -> T:
    result = await call.service.write(job)
    call.service.feed.tell(About.WEBHOOK, call.tenant, "")
    return result


def _webhooks(call: Call, connection: sqlite3.Connection) -> Webhooks:
    return Webhooks(connection, call.tenant, call.service.vault, call.service.clock)


def _named(call: Call, webhooks: Webhooks) -> Webhook:
    webhook = webhooks.find(call.request.match_info["id"])
    if webhook is None:
        raise not_there("the webhook")
    return webhook


def _url(call: Call, text: str) -> str:
    try:
        return target(text, private_hosts=call.service.settings.sessions.private_hosts)
    except InvalidInput as error:
        raise Problem(
            422,
            "invalid",
            f"url {error.message}",
            error.hint,
            errors=(FieldError("url", error.message),),
        ) from None


def _check_gateway(store: Store, name: str | None) -> None:
    if name is None:
        return
    actual = store.find(name)
    if actual is None:
        raise not_there(f"gateway {name!r}")
    if actual.gateway.protocol_type is ProtocolType.SMTP:
        raise invalid([FieldError("gateway", "is an SMTP gateway, which receives nothing")])


def _shown(webhooks: Webhooks, webhook: Webhook) -> dict[str, Any]:
    waiting = webhooks.backlog(webhook, DeliveryState.WAITING)
    ends = [end for end in webhooks.secret_ends(webhook) if end]
    return {
        "id": webhook.id,
        "url": webhook.url,
        "gateway": webhook.gateway,
        "created_at": webhook.created_at,
        "state": _state(webhook),
        "failures": webhook.failures,
        "failing_since": _moment(webhook.failing_since),
        "next_attempt_at": _moment(webhook.opens_at),
        "answer": webhook.answer,
        "disabled_at": _moment(webhook.disabled_at),
        "waiting": waiting.count,
        "oldest_waiting_at": waiting.oldest,
        "given_up": webhooks.backlog(webhook, DeliveryState.GIVEN_UP).count,
        "previous_secret_ends_at": _moment(max(ends, default=None)),
    }


def _state(webhook: Webhook) -> str:
    if webhook.disabled_at:
        return "disabled"
    return "failing" if webhook.failures else "working"


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "message": delivery.message,
        "gateway": delivery.gateway,
        "state": delivery.state.value,
        "created_at": delivery.created_at,
        "attempts": delivery.attempts,
        "first_attempt_at": _moment(delivery.first_attempt_at),
        "next_attempt_at": _moment(delivery.next_attempt_at),
        "answer": delivery.answer,
    }


def _moment(exactly: str | None) -> str | None:
    """In whole seconds, like every moment of the API."""
    return f"{exactly[:_SECOND]}Z" if exactly else None


def _field(before: str | None, after: str | None) -> dict[str, Any]:
    return {"field": "webhook", "before": before, "after": after}


def _audit(
    call: Call,
    connection: sqlite3.Connection,
    action: str,
    webhook: Webhook,
    changes: list[dict[str, Any]],
) -> None:
    """The URL is not told: its path and its query are often what lets somebody in."""
    Store(connection, call.tenant).write_audit(
        AuditEntry(
            at=stamp(call.service.clock()),
            actor=f"token {call.principal.token}",
            commit=None,
            run="",
            gateway=webhook.gateway or "",
            action=action,
            revision="0",
            changes=json.dumps(changes),
            token=call.principal.token,
        )
    )


ROUTES: Final = (
    Route("POST", "/v1/webhooks", add, Role.SEND),
    Route("GET", "/v1/webhooks", listed, Role.SEND),
    Route("GET", "/v1/webhooks/{id}", read, Role.SEND),
    Route("DELETE", "/v1/webhooks/{id}", remove, Role.SEND),
    Route("POST", "/v1/webhooks/{id}/rotate", rotate, Role.SEND),
    Route("POST", "/v1/webhooks/{id}/retry", retry, Role.SEND),
    Route("GET", "/v1/webhooks/{id}/deliveries", deliveries, Role.SEND),
)
