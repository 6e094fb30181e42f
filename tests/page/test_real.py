"""Real sessions on a mail server, seen and worked on in a real browser."""

from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from demo.mailserver import MailServer
from reconciler.messages import MessageKind, OutgoingMessage
from reconciler.model import Certificate, EncryptionMode, Gateway, ProtocolType
from reconciler.service.mail.accept import accept
from reconciler.service.mail.works import WORKS
from reconciler.service.supervisor.supervisor import Supervisor
from tests.page.looks import look
from tests.page.world import put, stage
from tests.service.mail.incoming import mail

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

USER = "support@example.com"


def on_server(server: MailServer, name: str, protocol: ProtocolType) -> Gateway:
    return Gateway(
        name,
        protocol,
        "127.0.0.1",
        server.port(protocol, EncryptionMode.TLS),
        user_id=USER,
        default_email_address=USER,
        certificate=Certificate("certs/root.pem", server.ca_file.read_text()),
    )


async def test_sessions_mail_and_buttons(browser: Browser, tmp_path: Path) -> None:
    """A wrong password is blamed, mended and tried again; mail is counted; a lost server shows."""
    async with (
        MailServer({USER: "right"}) as server,
        stage(tmp_path, supervise=partial(Supervisor, works=WORKS)) as on,
        look(browser, on) as looks,
    ):
        await looks.come(note="Ops on call")
        page = looks.page
        await expect(page.get_by_role("heading", name="No gateways yet")).to_be_visible()
        receiving = on_server(server, "support-in", ProtocolType.IMAP)
        await put(on.service, receiving, password="wrong")
        await put(on.service, on_server(server, "support-out", ProtocolType.SMTP), password="right")
        row, out = looks.row("support-in"), looks.row("support-out")
        await expect(row.locator(".badge")).to_have_text("Failed")
        await expect(row.locator(".why code")).to_have_text("user_password")
        await expect(row.locator(".hint")).to_contain_text("What to do:")
        await expect(out.locator(".badge")).to_have_text("Connection succeeded")
        await expect(out.locator("td.certificate")).to_contain_text("server's certificate")
        server.accounts[USER] = "wrong"
        await page.get_by_role("button", name="Rebuild support-in").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("checkbox").check()
        await dialog.get_by_role("button", name="Rebuild").click()
        await expect(row.locator(".badge")).to_have_text("Connection succeeded")
        server.state.mailbox(USER).add(mail(1))
        await expect(row.locator("td.mail")).to_contain_text("1 received")
        letter = OutgoingMessage(MessageKind.AGENT, ("alice@example.net",), "Hello", "Hello.\n")
        await accept(on.service, "acme", "support-out", letter, "key-1")
        await expect(out.locator("td.mail")).to_contain_text("1 sent")
        await page.get_by_role("button", name="Disconnect support-out").click()
        await dialog.get_by_role("button", name="Disconnect").click()
        await expect(out.locator(".badge")).to_have_text("Disconnected")
        await expect(out).to_contain_text("by hand, Ops on call")
        await accept(on.service, "acme", "support-out", letter, "key-2")
        await expect(out.locator("td.mail")).to_contain_text("1 waiting")
        await server.stop()
        await expect(row.locator(".badge")).to_have_text("Failed")
        await expect(row).to_contain_text("Next attempt")
