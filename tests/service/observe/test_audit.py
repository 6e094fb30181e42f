"""Every change has one entry in the audit trail, written before it was answered, without secrets.

The table below is held to the routes that there are: whoever adds one that writes says here what it
leaves in the trail, or why it leaves nothing.
"""

import json
import re
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.border import run as gateways
from reconciler.service.access import Role
from reconciler.service.http.app import ROUTES
from reconciler.service.http.page.monitoring import Monitoring
from tests.service.http.api import ACTOR, CANARY, Answer, Api, wish
from tests.service.running import Running, running

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
KEY = "what-lets-somebody-in"
URL = f"https://desk.example.com/mail?key={KEY}"


@dataclass(frozen=True)
class Caller:
    """Who makes the change: a token of the role that it needs, or the browser of its bearer."""

    run: Running
    api: Api
    token: str


SENDING = {
    "protocol_type": "SMTP",
    "port": 465,
    "default_email_address": "support@example.com",
}
MESSAGE = {"kind": "agent", "to": ["ann@example.com"], "subject": "", "text": ""}
FATE_UNKNOWN = (
    "UPDATE outbox SET state = 'unknown', next_attempt_at = NULL, finished_at = created_at, "
    "recipients = replace(recipients, 'queued', 'unknown')"
)

Change = Callable[[Caller], Awaitable[int]]
"""Makes one change, and returns the status of its answer."""


async def created(caller: Caller) -> int:
    return (await caller.api.create()).status


async def edited(caller: Caller) -> int:
    return (await caller.api.edit(port=143)).status


async def adopted(caller: Caller) -> int:
    body = {**wish(), "owner": "others"}
    return (await caller.api.write("POST", "/v1/gateways/support/adopt", body)).status


async def rebuilt(caller: Caller) -> int:
    path = "/v1/gateways/support/rebuild"
    return (await caller.api.write("POST", path, {"actor": ACTOR, "force": False})).status


async def disconnected(caller: Caller) -> int:
    body = {"actor": ACTOR, "owner": "ours", "cause": "by hand"}
    return (await caller.api.write("POST", "/v1/gateways/support/disconnect", body)).status


async def locked(caller: Caller) -> int:
    return (await caller.api.write("POST", "/v1/lock", {"actor": ACTOR})).status


async def unlocked(caller: Caller) -> int:
    lock = lock_of(caller.run)
    return (await caller.api.call("DELETE", f"/v1/lock/{lock}")).status


async def webhook_added(caller: Caller) -> int:
    return (await caller.api.call("POST", "/v1/webhooks", {"url": URL})).status


async def webhook_removed(caller: Caller) -> int:
    return (await caller.api.call("DELETE", f"/v1/webhooks/{webhook_of(caller.run)}")).status


async def webhook_rotated(caller: Caller) -> int:
    return (await caller.api.call("POST", f"/v1/webhooks/{webhook_of(caller.run)}/rotate")).status


async def webhook_retried(caller: Caller) -> int:
    path = f"/v1/webhooks/{webhook_of(caller.run)}/retry"
    return (await caller.api.call("POST", path, {})).status


async def pressed(caller: Caller, button: str) -> int:
    """As a browser does it: sign in, open the question, answer it."""
    http, origin = caller.run.http, {"Origin": caller.run.url, "Sec-Fetch-Site": "same-origin"}
    token = caller.api.headers["Authorization"].removeprefix("Bearer ")
    async with http.post(
        "/login", data={"token": token}, headers=origin, allow_redirects=False
    ) as answer:
        (cookie,) = [one.split(";")[0] for one in answer.headers.getall("Set-Cookie")]
    browser = {**origin, "Cookie": cookie}
    async with http.get(f"/buttons/{button}?gateway=support", headers=browser) as answer:
        page = await answer.text()
    inputs = re.findall(r"<input[^>]*>", page)
    form = {
        name[1]: value[1]
        for one in inputs
        if (name := re.search(r'name="([^"]*)"', one))
        and (value := re.search(r'value="([^"]*)"', one))
        and "checkbox" not in one
    }
    async with http.post(
        f"/buttons/{button}", data=form, headers=browser, allow_redirects=False
    ) as answer:
        return answer.status


async def rebuilt_by_button(caller: Caller) -> int:
    return await pressed(caller, "rebuild")


async def disconnected_by_button(caller: Caller) -> int:
    return await pressed(caller, "disconnect")


async def message_resent(caller: Caller) -> int:
    path = f"/v1/gateways/support/outbox/{message_of(caller.run)}/resend"
    return (await caller.api.call("POST", path)).status


async def message_given_up(caller: Caller) -> int:
    path = f"/v1/gateways/support/outbox/{message_of(caller.run)}/give-up"
    return (await caller.api.call("POST", path)).status


CHANGES: dict[str, tuple[str, Change]] = {
    "PUT /v1/gateways/{name} creates": ("create", created),
    "PUT /v1/gateways/{name}": ("edit", edited),
    "POST /v1/gateways/{name}/adopt": ("adopt", adopted),
    "POST /v1/gateways/{name}/rebuild": ("rebuild", rebuilt),
    "POST /v1/gateways/{name}/disconnect": ("disconnect", disconnected),
    "POST /v1/lock": ("lock", locked),
    "DELETE /v1/lock/{id}": ("unlock", unlocked),
    "POST /v1/webhooks": ("webhook add", webhook_added),
    "DELETE /v1/webhooks/{id}": ("webhook remove", webhook_removed),
    "POST /v1/webhooks/{id}/rotate": ("webhook rotate", webhook_rotated),
    "POST /v1/webhooks/{id}/retry": ("webhook retry", webhook_retried),
    "POST /v1/gateways/{name}/outbox/{id}/resend": ("message resend", message_resent),
    "POST /v1/gateways/{name}/outbox/{id}/give-up": ("message give up", message_given_up),
    "POST /buttons/rebuild": ("rebuild", rebuilt_by_button),
    "POST /buttons/disconnect": ("disconnect", disconnected_by_button),
}
UNTOLD = {
    "POST /v1/refresh": "it logs in again, and stores nothing",
    "PUT /v1/lock/{id}": "it holds on to what the entry of taking it tells of",
    "POST /v1/gateways/{name}/messages": "the outbox keeps every message and what became of it",
    "POST /login": "it begins a visit with a token, which each change of that visit names",
    "POST /logout": "it ends a visit",
}
# whether the caller said of himself who he is, as the commands do
NAMED = ("create", "edit", "adopt", "rebuild", "disconnect", "lock", "unlock")


def webhook_of(run: Running) -> str:
    return str(asked(run, "SELECT id FROM webhooks")[0][0])


def message_of(run: Running) -> str:
    return str(asked(run, "SELECT id FROM outbox")[0][0])


def lock_of(run: Running) -> str:
    return "{}-{}".format(*asked(run, "SELECT fence, token FROM locks")[0])


def asked(run: Running, question: str) -> list[Any]:
    """What is on disk, as another process sees it: nothing that is not committed."""
    found = sqlite3.connect(run.site.service.database)
    try:
        return found.execute(question).fetchall()
    finally:
        found.close()


def everything(run: Running) -> dict[str, list[Any]]:
    """All that a change may change; not what only makes repeating it harmless."""
    tables = [
        name
        for (name,) in asked(run, "SELECT name FROM sqlite_master WHERE type = 'table'")
        if name not in {"visits", "sqlite_sequence"}
    ]
    return {name: asked(run, f"SELECT * FROM {name} ORDER BY 1, 2") for name in tables}  # noqa: S608


@dataclass(frozen=True)
class Unjudged(Api):
    """Whatever the answer is: no document says what a service answers whose trail is blocked."""

    async def call(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: Any
    ) -> Answer:
        sent = {**self.headers, **{name.replace("_", "-"): one for name, one in headers.items()}}
        async with self.run.http.request(method, path, json=body, headers=sent) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


async def prepared(run: Running, route: str, kind: type[Api] = Api) -> Caller:
    """What the change needs to be there, and who makes it."""
    apply, send = [Api(run, await run.headers(role)) for role in ("apply", "send")]
    if not route.endswith("creates"):
        fields: dict[str, Any] = SENDING if "outbox" in route else {}
        created = await apply.put("support", wish(**fields), If_None_Match="*")
        assert created.status == 201
    if route == "DELETE /v1/lock/{id}":
        assert (await apply.write("POST", "/v1/lock", {"actor": ACTOR})).status == 201
    if "webhooks/" in route:
        assert (await send.call("POST", "/v1/webhooks", {"url": URL})).status == 201
    if "outbox" in route:
        await send.write("POST", "/v1/gateways/support/messages", MESSAGE)
        await run.site.service.write(lambda connection: connection.execute(FATE_UNKNOWN))
    sends = "webhook" in route or "outbox" in route
    token = await run.token(Role.SEND if sends else Role.APPLY)
    headers = {"Authorization": f"Bearer {token.text().reveal()}"}
    return Caller(run, kind(run, headers), token.id)


def test_every_route_that_writes_is_in_the_table() -> None:
    of_page = Monitoring(None, None).routes()  # type: ignore[arg-type]
    writing = [(one.method, one.path) for one in ROUTES]
    writing += [(one.method, one.path) for one in of_page]
    routes = {f"{method} {path}" for method, path in writing if method in WRITES}
    told = {route.removesuffix(" creates") for route in CHANGES}
    assert told | UNTOLD.keys() >= routes
    assert told <= routes
    assert told.isdisjoint(UNTOLD)


@pytest.mark.parametrize("route", CHANGES)
async def test_one_entry_written_before_the_answer(tmp_path: Path, route: str) -> None:
    action, change = CHANGES[route]
    async with running(tmp_path) as run:
        caller = await prepared(run, route)
        before = asked(run, "SELECT id FROM audit")
        assert await change(caller) in {200, 201, 204, 303}
        # on disk by now, as another process sees it
        entries = asked(
            run,
            "SELECT tenant, at, actor, git_commit, run, gateway, action, changes, token "
            "FROM audit ORDER BY id",
        )[len(before) :]
        reader = Api(run, await run.headers("read"))
        trail = (await reader.get("/v1/audit?limit=1000")).data["entries"]
        assert (await Api(run, await run.headers("read", "another")).get("/v1/audit")).data[
            "entries"
        ] == []
    assert len(entries) == 1
    (entry,) = entries
    tenant, at, actor, commit, run_id, gateway, told, changes, token = entry
    assert (tenant, told, token) == ("acme", action, caller.token)
    assert at.endswith("Z")
    assert actor
    if action in NAMED and route.startswith(("PUT /v1", "POST /v1")):
        assert (actor, commit, run_id) == (ACTOR["name"], ACTOR["commit"], ACTOR["run"])
    assert gateway == ("support" if "gateway" in route or "button" in route else "")
    for secret in (CANARY, KEY, "whsec_"):
        assert secret not in str(entry)
    assert trail[-1]["action"] == action
    assert trail[-1]["changes"] == json.loads(changes)


async def test_before_and_after(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await prepared(run, "PUT /v1/gateways/{name}")
        await edited(caller)
        (changes,) = asked(run, "SELECT changes FROM audit ORDER BY id DESC LIMIT 1")[0]
    assert {"field": "port", "before": 993, "after": 143} in json.loads(changes)


@pytest.mark.parametrize("route", CHANGES)
async def test_what_cannot_be_audited_is_not_done(tmp_path: Path, route: str) -> None:
    """A38, G38: the trail is blocked; nothing is changed, and reading goes on."""
    _, change = CHANGES[route]
    async with running(tmp_path) as run:
        caller = await prepared(run, route, Unjudged)
        before = everything(run)
        await run.site.service.write(
            lambda connection: connection.execute(
                "CREATE TRIGGER blocked BEFORE INSERT ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the trail is blocked'); END"
            )
        )
        assert await change(caller) >= 500
        assert everything(run) == before
        reader = Api(run, await run.headers("read"))
        assert (await reader.get("/v1/audit")).status == 200
        assert (await reader.get("/v1/gateways")).status == 200


def test_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made and revoked by a command, which the service need not run for."""
    database = str(tmp_path / "platform.db")
    made = ["token", "new", "--database", database, "--tenant", "acme", "--role", "read"]
    assert gateways(made) == 0
    token = capsys.readouterr().out.strip()
    name = token.removeprefix("gwt_").partition(".")[0]
    for _ in range(2):  # the second time it changes nothing
        assert gateways(["token", "revoke", "--database", database, name]) == 0
    found = sqlite3.connect(database)
    entries = found.execute("SELECT tenant, actor, action, changes FROM audit").fetchall()
    found.close()
    assert [entry[2] for entry in entries] == ["token new", "token revoke"]
    for tenant, actor, _, changes in entries:
        assert tenant == "acme"
        assert actor
        assert json.loads(changes) == [{"token": name, "role": "read"}]
        assert token.split(".")[1] not in changes
