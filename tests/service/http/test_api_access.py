"""Who may do what: every route, with every role, of every tenant; and tokens that are none."""

import asyncio
import itertools
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reconciler.clock import now
from reconciler.service.access import Role, Tokens
from reconciler.service.database import open_beside
from reconciler.service.http.app import ROUTES
from reconciler.service.http.routing import HttpSettings, Route
from reconciler.service.upgrade import transaction
from tests.service.http.api import ACTOR, Api, api, path_of, wish
from tests.service.running import Running, running

OURS = "acme"
THEIRS = "globex"

OWN_ANSWERS = {"/v1/gateways", "/v1/audit", "/v1/lock", "/v1/lock/{id}", "/v1/refresh"}
"""Routes that name nothing of a tenant's: everybody is answered with what is his own."""

BODIES: dict[str, Any] = {
    "/v1/gateways/{name}/rebuild": {"actor": ACTOR},
    "/v1/gateways/{name}/disconnect": {"actor": ACTOR, "owner": "ours", "cause": "by hand"},
    "/v1/gateways/{name}/messages": {
        "kind": "notification",
        "to": ["a@example.com"],
        "subject": "s",
        "text": "t",
    },
    "/v1/lock": {"actor": ACTOR},
    "/v1/webhooks": {"url": "https://desk.example.com/mail"},
    "/v1/webhooks/{id}/retry": {},
}


def headers_of(route: Route) -> dict[str, str]:
    return {"If_Match": '"1"'} if route.method == "PUT" else {}


def body_of(route: Route, name: str) -> Any:
    if route.path in {"/v1/gateways/{name}", "/v1/gateways/{name}/adopt"}:
        return wish(name) if route.method != "GET" else None
    return BODIES.get(route.path) if route.method == "POST" else None


async def asked(caller: Api, route: Route, name: str = "ours", one: str = "none") -> Any:
    return await caller.write(
        route.method, path_of(route.path, name, one), body_of(route, name), **headers_of(route)
    )


async def test_every_route_with_every_role(tmp_path: Path) -> None:
    """A35: a role may what it may, and the answer to the others names the role that is needed."""
    async with running(tmp_path) as run:
        await (await api(run)).create("ours")
        callers = {role: await api(run, role.value) for role in Role}
        for route, role in itertools.product(ROUTES, Role):
            answer = await asked(callers[role], route)
            if role.allows(route.role):
                assert answer.status not in {401, 403}, (route.path, role)
            else:
                assert (answer.status, answer.slug) == (403, "forbidden"), (route.path, role)
                assert f"role {route.role.value}" in answer.data["detail"]


async def test_roles_are_what_the_design_says() -> None:
    """A41: a job that only plans can neither take the lock nor end one."""
    allowed = {
        Role.READ: {Role.READ},
        Role.OPERATE: {Role.READ, Role.OPERATE},
        Role.APPLY: {Role.READ, Role.OPERATE, Role.APPLY},
        Role.SEND: {Role.SEND},
    }
    assert allowed == {role: {one for one in Role if role.allows(one)} for role in Role}
    needed = {(route.method, route.path): route.role for route in ROUTES}
    assert needed["POST", "/v1/lock"] is needed["DELETE", "/v1/lock/{id}"] is Role.APPLY


async def test_a_button_is_for_operators_and_the_rest_is_not(tmp_path: Path) -> None:
    """A35: operate may disconnect by hand, and for no other cause."""
    async with running(tmp_path) as run:
        await (await api(run)).create("ours")
        operator = await api(run, "operate")
        path = "/v1/gateways/ours/disconnect"
        for cause in ("declared", "when_failed", "undeclared"):
            body = {"actor": ACTOR, "owner": "ours", "cause": cause}
            refused = await operator.write("POST", path, body)
            assert (refused.status, refused.slug) == (403, "forbidden")
            assert "role apply" in refused.data["detail"]
        body = {"actor": ACTOR, "owner": "ours", "cause": "by hand"}
        assert (await operator.write("POST", path, body)).status == 200


async def test_of_another_tenant_there_is_nothing(tmp_path: Path) -> None:
    """A35: what another tenant has is answered like what nobody has, and stays as it is."""
    async with running(tmp_path) as run:
        ours = await api(run)
        await ours.create("ours")
        lock = (await ours.call("POST", "/v1/lock", {"actor": ACTOR})).data["id"]
        before = (await ours.get("/v1/gateways")).body
        strangers = {role: await api(run, role.value, tenant=THEIRS) for role in Role}
        for route in ROUTES:
            stranger = strangers[Role.SEND if route.role is Role.SEND else Role.APPLY]
            answer = await asked(stranger, route, one=lock)
            nobodys = await asked(stranger, route, name="absent", one=f"7-{'0' * 32}")
            where = f"{route.method} {route.path}"
            if route.path in OWN_ANSWERS:
                assert b"mail.example.com" not in answer.body, where
            elif route.path == "/v1/webhooks":
                assert answer.status in {200, 201}
            else:
                assert answer.status == nobodys.status == 404, where
                assert shape(answer, "ours") == shape(nobodys, "absent"), where
        assert (await ours.get("/v1/gateways")).body == before
        assert (await ours.call("PUT", f"/v1/lock/{lock}")).status == 200


def shape(answer: Any, name: str) -> str:
    """All that an answer says, but for the name that was asked for."""
    return json.dumps(answer.data).replace(f"'{name}'", "NAME")


async def test_two_tenants_have_gateways_of_one_name(tmp_path: Path) -> None:
    """A35: each reads, edits and lists his own."""
    async with running(tmp_path) as run:
        ours, theirs = await api(run), await api(run, tenant=THEIRS)
        await ours.create()
        created = await theirs.put("support", wish(host="theirs.example.net"), If_None_Match="*")
        assert created.status == 201
        await ours.edit(host="ours.example.com")
        hosts = [
            [one["gateway"]["host"] for one in (await caller.get("/v1/gateways")).data["gateways"]]
            for caller in (ours, theirs)
        ]
        assert hosts == [["ours.example.com"], ["theirs.example.net"]]
        for caller, actions in ((ours, ["create", "edit"]), (theirs, ["create"])):
            entries = (await caller.get("/v1/audit")).data["entries"]
            assert [one["action"] for one in entries] == actions
        assert (await ours.call("POST", "/v1/lock", {"actor": ACTOR})).status == 201
        assert (await theirs.call("POST", "/v1/lock", {"actor": ACTOR})).status == 201


async def test_a_request_may_name_the_tenant_that_it_means(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        assert (await caller.get("/v1/gateways", Gateways_Tenant=OURS)).status == 200
        other = await caller.get("/v1/gateways", Gateways_Tenant=THEIRS)
        assert (other.status, other.slug) == (403, "forbidden")


# tokens


async def bearer(run: Running, **fields: Any) -> str:
    token = await run.token("read", **fields)
    return f"Bearer {token.text().reveal()}"


async def test_tokens_that_are_none(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        good = await bearer(run)
        prefix, secret, origin = good.split(".")
        wrong = [
            None,
            "",
            "Bearer",
            "Bearer ",
            "Basic " + good.removeprefix("Bearer "),
            good.removeprefix("Bearer "),
            f"{prefix}.{secret}",
            f"{prefix}.{secret[:-1]}.{origin}",
            f"{prefix}.{'A' * 43}.{origin}",
            f"Bearer gwt_{'a' * 12}.{secret}.{origin}",
            f"{prefix}.{secret}.%%%",
            good + " " + good,
            f"Bearer {'x' * 5_000}",
            "Bearer ü",
        ]
        caller = Api(run)
        for header in wrong:
            answer = await caller.get("/v1/gateways", Authorization=header)
            assert (answer.status, answer.slug) == (401, "unauthorized"), header
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
            assert secret not in str(answer.data)
        for header in (good, good.replace("Bearer", "bearer"), good + " "):
            assert (await caller.get("/v1/gateways", Authorization=header)).status == 200


async def test_the_origin_in_a_token_is_the_clients_affair(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        header = await bearer(run, origin="https://gateways.example.com:443")
        assert (await Api(run).get("/v1/gateways", Authorization=header)).status == 200


async def test_a_token_ends(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    async with running(tmp_path, clock=lambda: moment) as run:
        caller = Api(run, {"Authorization": await bearer(run, days=1)})
        assert (await caller.get("/v1/gateways")).status == 200
        moment += timedelta(days=1)
        ended = await caller.get("/v1/gateways")
        assert (ended.status, ended.slug) == (401, "unauthorized")


async def test_a_token_that_another_process_revokes_is_refused_at_once(tmp_path: Path) -> None:
    """Also while many requests are under way: the first that is sent afterwards is refused."""
    async with running(tmp_path, limits=HttpSettings(failures=1_000)) as run:
        for _ in range(20):
            token = await run.token("read")
            caller = Api(run, {"Authorization": f"Bearer {token.text().reveal()}"})
            others = [asyncio.create_task(caller.get("/v1/gateways")) for _ in range(5)]
            assert (await caller.get("/v1/gateways")).status == 200
            await asyncio.to_thread(revoke, tmp_path / "platform.db", token.id)
            assert (await caller.get("/v1/gateways")).status == 401
            assert {answer.status for answer in await asyncio.gather(*others)} <= {200, 401}


def revoke(database: Path, token_id: str) -> None:
    """As another process does: over a connection of its own."""
    connection = open_beside(database)
    assert connection
    with closing(connection), transaction(connection):
        Tokens(connection, now).revoke(token_id)


async def test_a_token_is_nowhere_in_the_database(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        header = await bearer(run)
        await Api(run).get("/v1/gateways", Authorization=header)
    assert header.split(".")[1].encode() not in everything_in(tmp_path)


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


# how often


async def test_a_token_may_ask_so_often_and_no_more(tmp_path: Path) -> None:
    """A40: and is told when to ask again; another token is not held up."""
    limits = HttpSettings(rate=0.01, burst=3)
    async with running(tmp_path, limits=limits) as run:
        caller, other = await api(run), await api(run)
        statuses = [(await caller.get("/v1/gateways")).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = await caller.get("/v1/gateways")
        assert refused.slug == "too-many-requests"
        assert 50 <= int(refused.headers["Retry-After"]) <= 101
        assert (await other.get("/v1/gateways")).status == 200


async def test_what_was_used_up_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path, limits=HttpSettings(rate=20, burst=1)) as run:
        caller = await api(run)
        assert (await caller.get("/v1/gateways")).status == 200
        async with asyncio.timeout(5):
            while (await caller.get("/v1/gateways")).status != 200:  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0.02)


async def test_so_many_requests_of_a_token_are_under_way_and_no_more(tmp_path: Path) -> None:
    """A40: who opens a thousand requests that wait does not hold up his colleagues."""
    limits = HttpSettings(at_once=2, body_seconds=2)
    async with running(tmp_path, limits=limits) as run:
        caller, other = await api(run), await api(run)
        waiting = [asyncio.create_task(send_slowly(caller)) for _ in range(2)]
        async with asyncio.timeout(5):
            while (answer := await caller.get("/v1/gateways")).status == 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (answer.status, answer.slug) == (429, "too-many-requests")
        assert (await other.get("/v1/gateways")).status == 200
        assert await asyncio.gather(*waiting) == [408, 408]
        assert (await caller.get("/v1/gateways")).status == 200


async def send_slowly(caller: Api) -> int:
    async def never() -> Any:
        yield b"{"
        await asyncio.sleep(5)

    kind = {"Content-Type": "application/json"}
    async with caller.run.http.post(
        "/v1/lock", data=never(), headers={**caller.headers, **kind}
    ) as answer:
        return answer.status


async def test_who_guesses_tokens_is_told_to_wait(tmp_path: Path) -> None:
    """A40: while a good token of the same address is not held up."""
    async with running(tmp_path, limits=HttpSettings(failures=5)) as run:
        good = await api(run)
        stranger = Api(run, {"Authorization": f"Bearer gwt_{'a' * 12}.{'A' * 43}."})
        statuses = [(await stranger.get("/v1/gateways")).status for _ in range(6)]
        assert statuses == [401] * 5 + [429]
        assert int((await stranger.get("/v1/gateways")).headers["Retry-After"]) >= 1
        assert (await good.get("/v1/gateways")).status == 200


async def test_what_every_answer_carries(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        for path in ("/v1/gateways", "/v1/gateways/none", "/nowhere", "/openapi.yaml", "/docs"):
            async with run.http.get(path, headers=caller.headers) as answer:
                headers = answer.headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
            assert headers["Server"] == "gateways"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert not [name for name in headers if name.lower().startswith("access-control-")]


async def test_a_path_that_is_none(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        for path in ("/v1", "/v1/", "/v2/gateways", "/v1/gateways/a/b", "/v1/gateways/"):
            answer = await caller.get(path)
            assert (answer.status, answer.slug) == (404, "not-found"), path
        for path in ("/v1/gateways/%2e%2e%2f", "/v1/gateways/a%00b", "/v1/gateways/%F0%9F%92%A9"):
            assert (await caller.get(path)).status == 404
        other = await caller.call("PATCH", "/v1/gateways/support")
        assert (other.status, other.slug) == (405, "not-allowed")
        assert other.headers["Allow"] == "GET, PUT"
