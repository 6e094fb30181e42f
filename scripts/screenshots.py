"""Take the screenshots of docs/ anew: the real service, real sessions, a real plan, Chromium.

The mail servers are the demo's. Names of hosts are looked up here and not in DNS, and the service's
clock is turned, so that what happened days ago need not be waited for.
"""

import asyncio
import os
import shutil
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from playwright.async_api import Browser, Page, async_playwright, expect

from demo.certificates import Authority, Variant
from demo.mailserver import Faults, MailServer
from reconciler.clock import now
from reconciler.messages import MessageKind, OutgoingMessage
from reconciler.model import (
    DEFAULT_PORTS,
    Actor,
    Certificate,
    DesiredGateway,
    EncryptionMode,
    Gateway,
    Place,
    ProtocolType,
    Secret,
    State,
    StatusState,
)
from reconciler.service.access import Role, Tokens
from reconciler.service.feed import About
from reconciler.service.http.accept import bound
from reconciler.service.http.listen import listening
from reconciler.service.http.routing import Site
from reconciler.service.mail.accept import accept
from reconciler.service.mail.works import WORKS
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import SessionSettings
from reconciler.service.sessions.addresses import Address
from reconciler.service.sessions.failures import dns_failure
from reconciler.service.store import Store
from reconciler.service.supervisor.supervisor import Supervisor
from reconciler.service.writes import Asked, Writes
from scripts.plan_picture import plan_page
from scripts.png import smaller

PICTURES: Final = Path(__file__).resolve().parent.parent / "docs/images"
MOST_BYTES: Final = 150_000
SECONDS: Final = 30.0

USER: Final = "support@example.com"
PASSWORD: Final = "correct horse"  # noqa: S105 - of a mail server that lives for seconds
OUTDATED: Final = "battery staple"
JANE: Final = Actor("Jane Doe <jane@example.com>", "3f9c2e17b6a04d58", "run 412")
LEE: Final = Actor("Lee Ming <lee@example.com>", "a1b2c3d4e5f60718", "run 431")
LABELS: Final = (("env", "production"),)

# where system-ui is no font of today, as on a bare server, the page should still look like it does
_FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
{}
</fontconfig>
"""
_MATCH: Final = """<match target="pattern">
  <test qual="any" name="family"><string>{}</string></test>
  <edit name="family" mode="assign" binding="strong"><string>Inter</string></edit>
</match>
"""
FONTS: Final = _FONTS.format("".join(map(_MATCH.format, ("system-ui", "sans-serif", "sans"))))


@dataclass
class Hands:
    """A clock that is turned."""

    turned: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return now() - self.turned


@dataclass
class Net:
    """Which server a host is, at whichever port it really listens."""

    servers: dict[str, MailServer] = field(default_factory=dict)

    async def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        server = self.servers.get(host)
        if server is None:
            raise dns_failure(host, socket.gaierror(socket.EAI_NONAME, "no such host"))
        kind = next(kind for kind, usual in DEFAULT_PORTS.items() if usual == port)
        return ((socket.AF_INET, ("127.0.0.1", server.port(*kind))),)


@dataclass
class Stage:
    """The running service, and how its gateways come into being."""

    service: Service
    supervisor: Supervisor
    hands: Hands
    net: Net

    async def create(
        self, name: str, protocol: str, host: str, *, actor: Actor = JANE, **fields: Any
    ) -> None:
        """As an apply does it, and then until its session has settled."""
        kind, mode = ProtocolType(protocol), EncryptionMode(fields.pop("mode", "TLS"))
        password = Secret(fields.pop("password", PASSWORD))
        server = self.net.servers.get(host) or next(iter(self.net.servers.values()))
        gateway = Gateway(
            name,
            kind,
            host,
            DEFAULT_PORTS[kind, mode],
            encryption_mode=mode,
            certificate=None
            if mode is EncryptionMode.NONE
            else Certificate("certs/root.pem", server.ca_file.read_text()),
            **{"user_id": USER, "default_email_address": USER, "labels": LABELS, **fields},
        )
        desired = DesiredGateway(gateway, lambda: Place(""), password=password)

        def write(connection: sqlite3.Connection) -> None:
            store = Store(connection, "acme")
            writes = Writes(store, self.service.vault, "acme-mail-config", self.service.clock)
            writes.create(desired, Asked(actor, name, None))

        await self.service.write(write)
        self.service.feed.tell(About.GATEWAY, "acme", name)
        if not server.faults.silent:
            found = await self.supervisor.settled("acme", name, seconds=SECONDS)
            if found.status.state is StatusState.CONNECTING:
                raise SystemExit(f"{name} has not settled within {SECONDS:g} seconds")


@asynccontextmanager
async def service(folder: Path, net: Net) -> AsyncIterator[tuple[Stage, str, str]]:
    """The service, its address, and a token to sign in with."""
    hands = Hands()
    settings = ServiceSettings(SessionSettings(private_hosts=True, resolve=net.resolve))
    async with Service(folder / "gateways.db", settings, clock=hands, environment={}) as opened:
        supervisor = Supervisor(opened, WORKS)
        keeping = asyncio.create_task(supervisor.run())
        try:
            listener = bound("127.0.0.1", 0)
            async with listening(Site(opened, supervisor), listener):
                token = await opened.write(
                    lambda connection: Tokens(connection, now).make(
                        "acme", Role.OPERATE, origin=None, days=1, note="Sam on call"
                    )
                )
                stage = Stage(opened, supervisor, hands, net)
                yield stage, f"http://127.0.0.1:{listener.getsockname()[1]}", token.text().reveal()
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])


def certificates(folder: Path, names: list[str], days: int) -> Path:
    """Those of a server, which end in so many days."""
    folder.mkdir()
    authority = Authority(now=datetime.now(UTC) - timedelta(days=365 - days))
    for variant in Variant:
        issued = authority.issue(names)
        (folder / f"{variant}.pem").write_bytes(issued.certificate + issued.key)
    (folder / "ca.pem").write_bytes(authority.pem)
    return folder


async def gateways(stage: Stage) -> None:
    """A day in the life of a contact centre."""
    hands, mail = stage.hands, stage.net.servers["mail.example.com"]
    hands.turned = timedelta(days=12)
    await stage.create("support-out", "SMTP", "mail.example.com")
    await stage.create("support-in", "IMAP", "mail.example.com")
    await stage.create("archive-in", "IMAP", "mail.example.com", state=State.DISCONNECTED)
    hands.turned = timedelta(days=3, hours=2)
    vip = (*LABELS, ("tier", "gold"))
    await stage.create("vip-in", "IMAP", "mail.partner.example", protect=True, labels=vip)
    await stage.create("newsletter-out", "SMTP", "mail.example.com", actor=LEE, mode="STARTTLS")
    hands.turned = timedelta(hours=1, minutes=20)
    await stage.create("legacy-in", "POP3", "mail.example.com", mode="NONE", labels=())
    hands.turned = timedelta(minutes=7)
    await stage.create("billing-in", "POP3", "mail.example.com", actor=LEE, password=OUTDATED)
    hands.turned = timedelta(minutes=1)
    await stage.create("returns-in", "IMAP", "imap.returns.exmaple.com", actor=LEE)
    hands.turned = timedelta(0)
    staging = (("env", "staging"), ("team", "on-call"))
    await stage.create("alerts-out", "SMTP", "slow.example.com", labels=staging, actor=LEE)
    for number in range(148):
        to = (f"customer-{number}@example.net",)
        letter = OutgoingMessage(MessageKind.AGENT, to, "Your question", "Hello.\n")
        await accept(stage.service, "acme", "support-out", letter, f"letter-{number}")
    for number in range(217):
        mail.state.mailbox(USER).add(
            f"From: customer-{number}@example.net\r\nMessage-ID: <{number}@example.net>\r\n"
            f"Subject: Question\r\n\r\nHello.\r\n".encode()
        )


def keep(name: str, png: bytes) -> None:
    picture = smaller(png)
    if len(picture) > MOST_BYTES:
        raise SystemExit(f"{name} would have {len(picture)} bytes")
    (PICTURES / f"{name}.png").write_bytes(picture)
    print(f"docs/images/{name}.png: {len(picture)} bytes")


@asynccontextmanager
async def looking(browser: Browser, url: str, token: str, **options: Any) -> AsyncIterator[Page]:
    page = await browser.new_page(**options)
    await page.goto(url)
    await page.get_by_label("Access token").fill(token)
    await page.keyboard.press("Enter")
    await expect(page.locator("#live-word")).to_have_text("Live")
    yield page
    await page.close()


async def pictures(browser: Browser, url: str, token: str) -> dict[str, bytes]:
    taken: dict[str, bytes] = {}

    async def take(page: Page, name: str) -> None:
        taken[name] = await page.screenshot(type="png", animations="disabled")

    wide = {"width": 1360, "height": 820}
    phone = {"width": 390, "height": 844}
    async with looking(browser, url, token, viewport=wide) as page:
        await page.get_by_role("button", name="Disconnect legacy-in").click()
        await page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
        await expect(page.locator("#gateway-legacy-in")).to_contain_text("by hand")
        await expect(page.locator("#gateway-support-in td.mail")).to_contain_text("217")
        await expect(page.locator("#gateway-support-out td.mail")).to_contain_text("148")
    async with looking(browser, url, token, viewport=wide) as page:
        await take(page, "monitoring-light")
        await page.get_by_role("button", name="Rebuild billing-in").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await take(page, "monitoring-rebuild")
    async with looking(browser, url, token, viewport=wide, color_scheme="dark") as page:
        await take(page, "monitoring-dark")
    async with looking(browser, url, token, viewport=phone, has_touch=True) as page:
        await take(page, "monitoring-phone")
    async with looking(browser, url, token, viewport=phone, color_scheme="dark") as page:
        await page.locator("#gateway-billing-in").evaluate("row => row.scrollIntoView()")
        await take(page, "monitoring-phone-dark")
    return taken


async def plan_picture(browser: Browser, folder: Path) -> bytes:
    page = await browser.new_page(viewport={"width": 1000, "height": 800})
    await page.goto((await asyncio.to_thread(plan_page, folder)).as_uri())
    return await page.screenshot(type="png", animations="disabled", full_page=True)


async def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        fonts = folder / "fonts.conf"
        fonts.write_text(FONTS)
        net = Net()
        for host, days, faults in (
            ("mail.example.com", 300, Faults()),
            ("mail.partner.example", 12, Faults()),
            ("slow.example.com", 300, Faults(silent=True)),
        ):
            made = certificates(folder / host, [host], days)
            server = MailServer({USER: PASSWORD}, faults=faults, directory=made)
            net.servers[host] = await stack.enter_async_context(server)
        stage, url, token = await stack.enter_async_context(service(folder, net))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-lcd-text"],
            env={**os.environ, "FONTCONFIG_FILE": str(fonts)},
        )
        await gateways(stage)
        for name, png in (await pictures(browser, url, token)).items():
            keep(name, png)
        keep("plan", await plan_picture(browser, folder))
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
