"""A caller of the API. Whatever it is answered must be as the published document says."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from reconciler.model import Certificate
from reconciler.service.http import contract
from tests.certs import ca
from tests.service.running import Running

CANARY = "Canary-7f3a91-Passwort"
EXPECTATION = 417
"""Whatever the operation is."""

ACTOR = {"name": "alice", "commit": "c0ffee", "run": "run-1"}

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body) if self.body else None

    @property
    def slug(self) -> str:
        """What went wrong, in one word; empty where nothing did."""
        data = self.data
        kind = data.get("type", "") if isinstance(data, dict) else ""
        return str(kind).removeprefix("urn:gateways:problem:")


@dataclass(frozen=True)
class Api:
    """Calls with the same headers each time; `None` takes one of them away."""

    run: Running
    headers: Mapping[str, str] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: Any
    ) -> Answer:
        sent = {**self.headers, **{name.replace("_", "-"): one for name, one in headers.items()}}
        kept = {name: one for name, one in sent.items() if one is not None}
        content = raw
        if body is not None:
            content = json.dumps(body).encode()
            kept.setdefault("Content-Type", "application/json")
        async with self.run.http.request(method, path, data=content, headers=kept) as answer:
            found = Answer(answer.status, answer.headers, await answer.read())
        expect_documented(method, path, found)
        assert CANARY.encode() not in found.body
        assert CANARY not in str(found.headers)
        return found

    async def get(self, path: str, **headers: Any) -> Answer:
        return await self.call("GET", path, **headers)

    async def write(self, method: str, path: str, body: Any, **headers: Any) -> Answer:
        """A call with a fresh key, unless one is given."""
        headers.setdefault("Idempotency_Key", fresh_key())
        return await self.call(method, path, body, **headers)

    async def create(self, name: str = "support", **headers: Any) -> Answer:
        return await self.put(name, If_None_Match="*", **headers)

    async def edit(self, name: str = "support", revision: str = "1", **fields: Any) -> Answer:
        return await self.put(name, wish(name, **fields), If_Match=f'"{revision}"')

    async def put(self, name: str, body: Any = None, **headers: Any) -> Answer:
        return await self.write("PUT", f"/v1/gateways/{name}", body or wish(name), **headers)


async def api(run: Running, role: str = "apply", tenant: str = "acme") -> Api:
    return Api(run, await run.headers(role, tenant))


def fresh_key() -> str:
    return f"key-{next(_numbers)}"


@cache
def certificate() -> Certificate:
    return Certificate("certs/root.pem", ca().pem.decode())


def wish(name: str = "support", **fields: Any) -> dict[str, Any]:
    """The body of a PUT: an IMAP gateway with a password and its certificate."""
    anchor = certificate()
    gateway = {
        "name": name,
        "protocol_type": "IMAP",
        "host": "mail.example.com",
        "port": 993,
        "user_id": "support@example.com",
        "certificate_file": {"file": anchor.file, "digest": anchor.digest},
        **fields,
    }
    return {
        "gateway": gateway,
        "certificates": {anchor.digest: anchor.pem} if gateway["certificate_file"] else {},
        "password": {"known": True, "value": CANARY},
        "owner": "ours",
        "actor": ACTOR,
        "reconnect": True,
    }


def expect_documented(method: str, path: str, answer: Answer) -> None:
    """The status is one that the document names for the operation, and the body fits its schema."""
    operation = operation_of(method, path)
    if operation is None or answer.status == EXPECTATION:
        assert answer.status in {404, 405, EXPECTATION}, (method, path, answer.status)
        expect_fits("Problem", answer)
        return
    assert str(answer.status) in operation["responses"], (method, path, answer.status, answer.body)
    response = followed(operation["responses"][str(answer.status)])
    content = response.get("content", {})
    if not content:
        assert answer.body == b""
        return
    kind = answer.headers["Content-Type"].partition(";")[0]
    schema = content[kind]["schema"]
    if kind.endswith("json"):
        expect_fits(schema["$ref"].rpartition("/")[2], answer)
    for name in response.get("headers", {}):
        if name in {"ETag", "Location", "WWW-Authenticate"}:
            assert name in answer.headers


def expect_fits(schema: str, answer: Answer) -> None:
    found = contract.errors(schema, answer.data)
    assert found == [], (schema, answer.data)


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation of the document that a request is for."""
    steps = path.partition("?")[0].split("/")
    for template, item in contract.document()["paths"].items():
        wanted = template.split("/")
        same = len(wanted) == len(steps) and all(
            one == other or one.startswith("{") for one, other in zip(wanted, steps, strict=True)
        )
        if same and method.lower() in item:
            found: dict[str, Any] = item[method.lower()]
            return found
    return None


def followed(data: dict[str, Any]) -> dict[str, Any]:
    """What a reference of the document leads to, or the data itself."""
    if "$ref" not in data:
        return data
    target: Any = contract.document()
    for step in data["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    found: dict[str, Any] = target
    return found


def path_of(template: str, name: str = "support", one: str = "nothing") -> str:
    """A path of a route, filled in."""
    return template.replace("{name}", name).replace("{id}", one)
