"""Receiving from Dovecot: what real servers do when mailboxes are renumbered, cut off and full."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model import ProtocolType
from reconciler.service.mail.inbox import Inbox
from reconciler.service.mail.reading import Archive
from tests.rig import MailRig
from tests.rig.gateways import IMAP, PASSWORD, POP3
from tests.service.mail.dovecot import DovecotMailbox
from tests.service.mail.incoming import NAME, QUICK, TENANT, Desk, desk, mail

pytestmark = pytest.mark.interop

BIG = os.environ.get("GATEWAYS_RECEIVE") == "big"
MEGABYTES = 100
ALLOWED_MEGABYTES = 64

both = pytest.mark.parametrize("protocol", [IMAP, POP3])


@pytest.fixture
def mailbox(rig: MailRig) -> Iterator[DovecotMailbox]:
    found = DovecotMailbox(rig)
    found.clear()
    yield found
    found.clear()


@asynccontextmanager
async def desk_of(
    mailbox: DovecotMailbox, folder: Path, protocol: ProtocolType
) -> AsyncIterator[Desk]:
    settings = replace(QUICK, poll_seconds=0.3)
    async with desk(folder, mailbox.gateway(protocol), PASSWORD, receiving=settings) as found:
        yield found


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@both
async def test_everything_comes_once_and_stays_as_it_was(
    mailbox: DovecotMailbox, tmp_path: Path, protocol: ProtocolType
) -> None:
    """G3: nothing is marked, moved or deleted, so that a repeated look is harmless."""
    first = [mail(number, body=f".{number}\r\n" * number) for number in range(60)]
    mailbox.append(first)
    async with desk_of(mailbox, tmp_path, protocol) as found, found.working():
        await found.until_count(60)
        later = [mail(100), mail(101, body="x" * 400_000 + "\r\n")]
        mailbox.append(later)
        await found.until_count(62)
        assert await found.digests() == [digest(raw) for raw in first + later]
        assert {one.sender for one in await found.messages()} == {"alice.b@example.com"}
        assert not found.errors
    if protocol is IMAP:  # over POP3 Dovecot marks by itself what it sends
        assert mailbox.flags() == set()
    with mailbox.session(read_only=True) as session:
        assert session.search(None, "ALL")[1][0].split()[-1] == b"62"


async def test_numbered_anew_by_its_operator(mailbox: DovecotMailbox, tmp_path: Path) -> None:
    """G16: only what came meanwhile is new."""
    mailbox.append(mail(number) for number in range(30))
    async with desk_of(mailbox, tmp_path, IMAP) as found:
        await found.look_once()
        for turn in range(2):
            mailbox.number_anew(1_000 + turn)
            mailbox.append([mail(100 + turn)])
            await found.look_once()
            await found.look_once()
        messages = await found.messages()
        assert [one.subject for one in messages[30:]] == ["Question 100", "Question 101"]
        assert [one.resync for one in messages].count(True) == 2


async def test_kicked_out_by_its_operator(mailbox: DovecotMailbox, tmp_path: Path) -> None:
    """G10: what came before the next session is fetched by it."""
    async with desk_of(mailbox, tmp_path, IMAP) as found, found.working():
        mailbox.append([mail(0)])
        await found.until_count(1)
        for turn in range(1, 4):
            mailbox.doveadm("kick", mailbox.user)
            mailbox.append([mail(turn)])
            await found.until_count(turn + 1)
        assert await found.subjects() == [f"Question {turn}" for turn in range(4)]


async def test_names_of_another_form(mailbox: DovecotMailbox, tmp_path: Path) -> None:
    """G19: the operator changes pop3_uidl_format, and no message comes twice."""
    mailbox.append(mail(number) for number in range(20))
    async with desk_of(mailbox, tmp_path, POP3) as found:
        await found.look_once()
        for turn, form in enumerate(("%v.%u", "%08Xu%08Xv.x")):
            with mailbox.unique_ids(form):
                mailbox.append([mail(100 + turn)])
                async with found.working():  # a server that reloads may hang up at first
                    await found.until_count(21 + turn)
                    await found.rest(2)
        messages = await found.messages()
        assert [one.subject for one in messages[20:]] == ["Question 100", "Question 101"]


@pytest.mark.parametrize("protocol", [IMAP, POP3] if BIG else [IMAP])
async def test_a_hundred_megabytes_take_little_memory(
    mailbox: DovecotMailbox, tmp_path: Path, protocol: ProtocolType
) -> None:
    """G21: streamed to the disk in pieces, and read from there in pieces."""
    line = b"0123456789abcdef" * 4 + b"\r\n"
    raw = tmp_path / "message.eml"
    with raw.open("wb") as file:
        file.write(mail(1, body=""))
        for _ in range(MEGABYTES):
            file.write(line * (2**20 // len(line)))
    whole = hashlib.sha256()
    async with desk_of(mailbox, tmp_path, protocol) as found:
        await found.look_once()
        # by another process, so that the memory of this one is only that of receiving
        await asyncio.to_thread(append_file, mailbox, raw)
        before, peak = resident(), 0

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, resident())
                await asyncio.sleep(0.005)

        watching = asyncio.create_task(watch())
        await found.look_once()
        (message,) = await found.messages()
        kept = await found.service.look(
            lambda connection: Inbox(connection, TENANT).find(NAME, message.id)
        )
        assert kept
        async for piece in Archive(found.service, TENANT).content(kept):
            whole.update(piece)
        watching.cancel()
        grown = (peak - before) / 1024
        sys.stdout.write(f"{protocol}: {message.size:,} bytes took {grown:.1f} MiB of memory\n")
    with raw.open("rb") as content:
        assert whole.hexdigest() == hashlib.file_digest(content, "sha256").hexdigest()
    assert peak - before < ALLOWED_MEGABYTES * 1024


APPEND = """
import imaplib, sys
host, port, user, password, file = sys.argv[1:]
connection = imaplib.IMAP4(host, int(port))
connection.login(user, password)
assert connection.append("INBOX", None, None, open(file, "rb").read())[0] == "OK"
connection.logout()
"""


def append_file(mailbox: DovecotMailbox, file: Path) -> None:
    port = str(mailbox.rig.ports["imap"])
    arguments = ["127.0.0.1", port, mailbox.user, mailbox.rig.users[mailbox.user], str(file)]
    subprocess.run([sys.executable, "-c", APPEND, *arguments], check=True, timeout=100)


def resident() -> int:
    """Memory of this process now, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
