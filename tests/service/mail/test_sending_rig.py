"""Through Postfix into Dovecot: what a recipient gets is what was written."""

import asyncio
import uuid
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pytest

from reconciler.messages import Attachment, MessageKind, MessageState
from reconciler.model import Certificate, EncryptionMode, Gateway, ProtocolType
from tests.rig import MailRig
from tests.rig.gateways import PASSWORD, PORTS, USER
from tests.service.mail.outgoing import NAME, Office, message, office
from tests.service.mail.test_compose import SAMPLES, body_of, decoded

pytestmark = pytest.mark.interop
SECONDS = 30


def gateway(rig: MailRig, encryption: EncryptionMode, **fields: Any) -> Gateway:
    anchor = Certificate("certs/root.pem", rig.authority.certificate)
    given = {
        "user_id": USER,
        "default_email_address": USER,
        "default_user_name": "Agent Smith",
        "certificate": None if encryption is EncryptionMode.NONE else anchor,
        **fields,
    }
    port = rig.ports[PORTS[ProtocolType.SMTP, encryption]]
    return Gateway(NAME, ProtocolType.SMTP, "localhost", port, encryption_mode=encryption, **given)


def in_mailboxes(rig: MailRig, mark: str) -> list[bytes]:
    """Every copy of a message with such a mark that was delivered."""
    files = [one for one in (rig.folder / "mail").glob("*/new/*") if one.is_file()]
    raws = [one.read_bytes() for one in files]
    return [raw for raw in raws if mark.encode() in raw]


async def arrived(rig: MailRig, mark: str, count: int = 1) -> list[bytes]:
    async with asyncio.timeout(SECONDS):
        while len(found := in_mailboxes(rig, mark)) < count:  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.02)
    return found


async def sent(running: Office, rig: MailRig, **fields: Any) -> bytes:
    """Send a message, and take it out of the recipient's mailbox."""
    mark = f"<{uuid.uuid4().hex}@mark.example>"
    asked = message(fields.pop("to", USER), message_id=mark, **fields)
    accepted = await running.accept(asked, mark)
    await running.until_state(accepted.id, MessageState.SENT)
    (raw,) = await arrived(rig, mark)
    return raw


def read(raw: bytes) -> EmailMessage:
    parsed = message_from_bytes(raw, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def read_parts(parsed: Message) -> list[Message]:
    return [part for part in parsed.walk() if not part.is_multipart()]


@pytest.mark.parametrize("encryption", EncryptionMode)
async def test_both_kinds_over_each_encryption(
    rig: MailRig, tmp_path: Path, encryption: EncryptionMode
) -> None:
    content = bytes(range(256)) * 3_000
    file = Attachment("übersicht.bin", "application/octet-stream", content)
    async with office(tmp_path, gateway(rig, encryption), PASSWORD) as running, running.working():
        agent = read(await sent(running, rig, kind=MessageKind.AGENT, attachments=(file,)))
        note = read(await sent(running, rig, kind=MessageKind.NOTIFICATION))
    assert agent["From"] == f"Agent Smith <{USER}>"
    assert note["From"] == USER
    assert (agent["Auto-Submitted"], note["Auto-Submitted"]) == (None, "auto-generated")
    assert agent["Return-Path"] == f"<{USER}>"
    (attached,) = agent.iter_attachments()
    assert (attached.get_filename(), attached.get_payload(decode=True)) == (file.name, content)
    assert note.get_content() == "Hello,\nwe have an answer.\n"


@pytest.mark.parametrize(
    "charset", ["UTF-8", "GB2312", "GB18030", "Big5", "Shift_JIS", "EUC-KR", "ISO-8859-1", "KOI8-R"]
)
async def test_charsets(rig: MailRig, tmp_path: Path, charset: str) -> None:
    sample = SAMPLES[charset]
    fields = {"encoding_mode": charset, "default_user_name": sample}
    async with (
        office(tmp_path, gateway(rig, EncryptionMode.TLS, **fields), PASSWORD) as running,
        running.working(),
    ):
        raw = await sent(running, rig, subject=sample, text=f"{sample}\n", html=f"<b>{sample}</b>")
    parsed = message_from_bytes(raw)
    plain, html = read_parts(parsed)
    for part in (plain, html):
        assert part.get_param("charset") == charset
    assert body_of(plain, charset) == f"{sample}\n"
    assert body_of(html, charset) == f"<b>{sample}</b>"
    assert decoded(parsed["Subject"], charset) == sample
    name, _, address = parsed["From"].rpartition(" ")
    assert (decoded(name.strip(), charset), address) == (sample, f"<{USER}>")


@pytest.mark.parametrize(
    "end", ["\n.\n", "\r.\r", "\r\n.\r\n", "\n.\r\n", "\r.\r\n", "\r\r\n.\r\n"]
)
async def test_no_text_ends_a_message_early(rig: MailRig, tmp_path: Path, end: str) -> None:
    """A32: what Postfix makes of it is one message, with every line of the text."""
    mark = uuid.uuid4().hex
    text = f"before{end}MAIL FROM:<eve@example.test>\nRCPT TO:<{USER}>\nDATA\n{mark}{end}..after\n"
    async with (
        office(tmp_path, gateway(rig, EncryptionMode.STARTTLS), PASSWORD) as running,
        running.working(),
    ):
        raw = await sent(running, rig, text=text)
        await sent(running, rig)  # whatever was smuggled in would be there before this
    assert in_mailboxes(rig, mark) == [raw]
    wanted = text.replace("\r\n", "\n").replace("\r", "\n")
    assert read(raw).get_content() == wanted


async def test_letters_beyond_ascii_in_addresses(rig: MailRig, tmp_path: Path) -> None:
    """Postfix takes them; Dovecot, behind it, does not."""
    async with (
        office(tmp_path, gateway(rig, EncryptionMode.TLS), PASSWORD) as running,
        running.working(),
    ):
        accepted = await running.accept(message("zoë@example.test"), "key")
        found = await running.until_state(accepted.id, MessageState.SENT)
    assert found.recipients[0].address == "zoë@example.test"
    assert found.recipients[0].answer.startswith("250 2.0.0")


async def test_a_long_queue_over_several_sessions(rig: MailRig, tmp_path: Path) -> None:
    """Each once, and the server sees no more sessions than are allowed."""
    mark = uuid.uuid4().hex
    async with office(tmp_path, gateway(rig, EncryptionMode.TLS), PASSWORD) as running:
        for number in range(120):
            asked = message(USER, subject=f"{number}", message_id=f"<{number}.{mark}@x.example>")
            accepted = await running.accept(asked, f"{number}")
        async with running.working():
            for number in range(120):
                repeated = replace(
                    message(USER, subject=f"{number}"), message_id=f"<{number}.{mark}@x.example>"
                )
                accepted = await running.accept(repeated, f"{number}")
                await running.until_state(accepted.id, MessageState.SENT)
        assert 1 < len(running.opened) <= 4
    assert len(await arrived(rig, mark, 120)) == 120
