"""Gateways for the page to show, made as their owners make them, and visitors who look at it."""

import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from reconciler.clock import Clock, now, stamp
from reconciler.model import (
    DEFAULT_PORTS,
    Actor,
    Cause,
    Certificate,
    DesiredGateway,
    EncryptionMode,
    Failure,
    FailureKind,
    Gateway,
    Place,
    ProtocolType,
    Secret,
    Status,
    StatusState,
)
from reconciler.service.feed import About
from reconciler.service.http.routing import HttpSettings
from reconciler.service.service import Service
from reconciler.service.store import Store
from reconciler.service.supervisor.facts import Facts
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.service.writes import Asked, Writes
from tests import certs
from tests.service.running import Idle, Running, running

JANE = Actor("Jane Doe <jane@example.com>", "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678", "run 17")
REFUSED = Failure(
    FailureKind.AUTH, "user_password", "the server refused this user and password", "correct it"
)
ABSENT = Failure(FailureKind.TCP, "port", "nothing listens on port 993", "correct port")


class Told(Idle):
    """A supervisor that keeps no session; what it knows of them is what a test says."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.known: dict[str, Facts] = {}

    def facts(self, tenant: str, name: str) -> Facts | None:
        return self.known.get(name)


@cache
def anchor() -> str:
    return certs.ca().pem.decode()


def gateway(name: str, protocol: str = "IMAP", **fields: Any) -> Gateway:
    mode = EncryptionMode(fields.pop("mode", "TLS"))
    protocol_type = ProtocolType(protocol)
    given = {
        "host": "mail.example.com",
        "port": DEFAULT_PORTS[protocol_type, mode],
        "user_id": "support@example.com",
        "default_email_address": "support@example.com",
        "certificate": None
        if mode is EncryptionMode.NONE
        else Certificate("certs/root.pem", fields.pop("pem", None) or anchor()),
        "labels": (("env", "production"),),
    }
    return Gateway(name, protocol_type, encryption_mode=mode, **{**given, **fields})


def status(
    state: str,
    failure: Failure | None = None,
    *,
    ago: float = 240,
    cause: Cause | None = None,
    actor: str = "",
) -> Status:
    at = stamp(now() - timedelta(seconds=ago))
    return Status(StatusState(state), at, at, failure, cause, actor)


def put_in(  # noqa: PLR0913 - what tells gateways of these tests from each other
    connection: sqlite3.Connection,
    service: Service,
    one: Gateway,
    state: Status | None = None,
    *,
    tenant: str = "acme",
    owner: str = "acme-mail-config",
    actor: Actor = JANE,
    password: str | None = None,
) -> None:
    """A gateway as an apply leaves it; `state` is what its session reported then."""
    store = Store(connection, tenant)
    desired = DesiredGateway(
        one, lambda: Place(""), password=Secret(password) if password else None
    )
    writes = Writes(store, service.vault, owner, service.clock)
    made = writes.create(desired, Asked(actor, f"create {one.name}", None))
    if state:
        store.record_status(one.name, made.revision, state, epoch=service.epoch)


async def put(service: Service, one: Gateway, state: Status | None = None, **others: Any) -> None:
    await service.write(lambda connection: put_in(connection, service, one, state, **others))
    service.feed.tell(About.GATEWAY, others.get("tenant", "acme"), one.name)


async def report(service: Service, name: str, state: Status, tenant: str = "acme") -> None:
    """What the supervisor does when a session has changed."""

    def record(connection: sqlite3.Connection) -> bool:
        store = Store(connection, tenant)
        found = store.find(name)
        return found is not None and store.record_status(
            name, found.revision, state, epoch=service.epoch
        )

    assert await service.write(record)
    service.feed.tell(About.STATUS, tenant, name)


@dataclass(frozen=True)
class Page:
    """An answer of the page, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str

    def field(self, name: str) -> str:
        """The value of a hidden field."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found, name
        return found[1]


@dataclass
class Visitor:
    """A browser without scripts: it keeps its cookie and says where its requests come from."""

    running: Running
    cookie: str = ""

    async def get(self, path: str, **headers: str) -> Page:
        return await self._ask("GET", path, None, headers)

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Page:
        own = {"Origin": self.running.url, "Sec-Fetch-Site": "same-origin"}
        return await self._ask("POST", path, fields, {**own, **headers})

    async def sign_in(self, role: str = "operate", tenant: str = "acme", **fields: Any) -> str:
        """Sign in with a fresh token; gives its id."""
        token = await self.running.token(role, tenant, **fields)
        page = await self.post("/login", {"token": token.text().reveal()})
        assert page.status == 303, page.text
        return token.id

    async def press(
        self,
        button: str,
        name: str,
        changes: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Page:
        """Open the question, and answer it with yes."""
        asked = await self.get(f"/buttons/{button}?{urlencode({'gateway': name})}")
        assert asked.status == 200, asked.text
        fields = ("form_token", "gateway", "revision", "key", "back")
        form = {field: asked.field(field) for field in fields} | dict(changes or {})
        return await self.post(f"/buttons/{button}", form, **(headers or {}))

    async def _ask(
        self, method: str, path: str, fields: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> Page:
        sent = {name.replace("_", "-"): value for name, value in headers.items() if value}
        if self.cookie:
            sent.setdefault("Cookie", self.cookie)
        async with self.running.http.request(
            method, path, data=fields, headers=sent, allow_redirects=False
        ) as answer:
            for cookie in answer.cookies.values():
                self.cookie = f"{cookie.key}={cookie.value}" if cookie.value else ""
            return Page(answer.status, dict(answer.headers), await answer.text())


@dataclass(frozen=True)
class Stage:
    """A service that a page is looked at; its supervisor knows what a test says, if not real."""

    running: Running

    @property
    def service(self) -> Service:
        return self.running.site.service

    @property
    def supervisor(self) -> Told:
        found = self.running.site.supervisor
        assert isinstance(found, Told)
        return found

    def visitor(self) -> Visitor:
        return Visitor(self.running)

    async def seen_by(self, role: str = "operate", tenant: str = "acme") -> Visitor:
        visitor = self.visitor()
        await visitor.sign_in(role, tenant)
        return visitor


@asynccontextmanager
async def stage(
    folder: Path,
    *,
    supervise: Callable[[Service], Supervisor] = Told,
    clock: Clock = now,
    limits: HttpSettings | None = None,
) -> AsyncIterator[Stage]:
    async with running(folder, supervise=supervise, clock=clock, limits=limits) as started:
        yield Stage(started)


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str]]:
    """What a stream says: kinds and data."""
    kind = ""
    async for line in answer.content:
        word, _, value = line.decode().rstrip("\n").partition(": ")
        if word == "event":
            kind = value
        elif word == "data":
            yield kind, value
