"""Reading what a message says: in a process that may end, be ended, and is started again."""

import asyncio
import hashlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from demo.mailserver import MailServer
from reconciler.messages import MessageView
from reconciler.model import ProtocolType, ReceiveFrom, Secret
from reconciler.service.mail.inbox import Inbox, Kept
from reconciler.service.mail.parsing import view
from reconciler.service.mail.reading import Archive, Reader, Readers, Unreadable
from tests.platforms.contract import PASSWORD, USER, on
from tests.rig.gateways import IMAP, NONE, make_gateway
from tests.rig.gateways import PASSWORD as RIG_PASSWORD
from tests.service.mail.corpus import CORPUS
from tests.service.mail.incoming import NAME, TENANT, Desk, desk, mail

SCALE = 10 if os.environ.get("GATEWAYS_FUZZ") == "big" else 1
SEED = int(os.environ.get("GATEWAYS_FUZZ_SEED", "20261122"))
MUTANTS = 150

WHOLE = b"""\
From: =?utf-8?q?J=C3=BCrgen?= <j@x.io>\r
Subject: Hello\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=m\r
\r
--m\r
Content-Type: multipart/alternative; boundary=a\r
\r
--a\r
Content-Type: text/plain; charset=gb2312\r
Content-Transfer-Encoding: base64\r
\r
1dTGvbXEk80=\r
--a\r
Content-Type: text/html; charset=utf-8\r
Content-Transfer-Encoding: quoted-printable\r
\r
<p>Gr=C3=BC=C3=9Fe</p>\r
--a--\r
--m\r
Content-Type: application/pdf\r
Content-Disposition: attachment; filename*=utf-8''Rechnung%20%C3%BC.pdf\r
Content-Transfer-Encoding: base64\r
\r
MTIzNDU=\r
--m\r
Content-Type: message/rfc822\r
\r
Subject: forwarded\r
\r
inside\r
--m--\r
"""


async def pieces(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), 65_536):
        yield raw[start : start + 65_536]


async def read(reader: Reader, raw: bytes, charset: str = "UTF-8") -> MessageView:
    return await reader.read(pieces(raw), len(raw), charset)


async def test_what_a_message_says() -> None:
    reader = Reader()
    found = await read(reader, WHOLE)
    await reader.close()
    assert found.headers[:2] == (("From", "Jürgen <j@x.io>"), ("Subject", "Hello"))
    assert found.text.startswith("赵平的")
    assert found.html == "<p>Grüße</p>"
    pdf, forwarded = found.attachments
    assert (pdf.name, pdf.content_type, pdf.size) == ("Rechnung ü.pdf", "application/pdf", 5)
    assert (forwarded.name, forwarded.content_type) == ("", "message/rfc822")
    assert found.defects == ()


async def test_text_of_no_charset_is_in_that_of_the_gateway() -> None:
    reader = Reader()
    raw = b"Subject: x\r\n\r\n" + "Привет".encode("koi8-r")
    assert (await read(reader, raw, "KOI8-R")).text == "Привет"
    await reader.close()


async def test_the_corpus_is_read_or_said_to_be_unreadable() -> None:
    """A31, G20: whatever it is, there is an answer in time, and one for the next message."""
    reader = Reader()
    unreadable = []
    try:
        for name, raw in CORPUS.items():
            try:
                found = await read(reader, raw)
            except Unreadable:
                unreadable.append(name)
            else:
                assert all(text.encode() is not None for text in (found.text, found.html))
            assert (await read(reader, WHOLE)).html == "<p>Grüße</p>", name
    finally:
        await reader.close()
    assert len(unreadable) <= 2, unreadable


def test_mutants_of_the_corpus_raise_nothing() -> None:
    """A31: nothing but an answer leaves the reader, whatever a message looks like."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable
    small = [raw for raw in (*CORPUS.values(), WHOLE) if len(raw) < 20_000]
    for _ in range(MUTANTS * SCALE):
        raw = mutant(chance, small)
        found = view(raw, "UTF-8")
        assert set(found) == {"headers", "text", "html", "attachments", "defects"}
        for text in (found["text"], found["html"]):
            assert text.encode() is not None, raw


def mutant(chance: random.Random, seeds: list[bytes]) -> bytes:
    raw = bytearray(chance.choice(seeds) or b"x")
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(4):
            case 0:
                raw[at:at] = chance.choice(seeds)[:500]
            case 1:
                del raw[at : at + chance.randint(1, 20)]
            case 2:
                raw[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                raw[at:at] = chance.choice(
                    [b"\r\n", b"\r", b"\n", b"=?utf-8?b?", b"\0", b"--b\r\n"]
                )
        raw = raw or bytearray(b"x")
    return bytes(raw)


async def test_everything_is_stored_as_it_came(tmp_path: Path) -> None:
    """A31, G20: the corpus and its mutants, received, listed, and equal byte for byte."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable
    small = [raw for raw in (*CORPUS.values(), WHOLE) if len(raw) < 20_000]
    sent = [*CORPUS.values(), *(mutant(chance, small) for _ in range(MUTANTS * SCALE))]
    async with MailServer({USER: PASSWORD}) as server:
        for raw in sent:
            server.state.mailbox(USER).add(raw)
        gateway = on(server, protocol_type=ProtocolType.IMAP, receive_from=ReceiveFrom.ALL)
        async with desk(tmp_path, gateway, Secret(PASSWORD)) as found:
            await found.look_once()
            assert await found.digests() == [hashlib.sha256(raw).hexdigest() for raw in sent]


DYING = {
    "ends": "import os; os._exit(0)",
    "is killed": "import os; os.kill(os.getpid(), 9)",
    "says nonsense": "import sys; sys.stdin.buffer.readline(); print('x')",
    "says half an answer": "import sys; sys.stdin.buffer.readline(); print('{', end='')",
    "loops": "while True: pass",
    "floods": "import sys\nwhile True: sys.stdout.write('x' * 65536)",
}


@pytest.mark.parametrize("program", DYING.values(), ids=DYING)
async def test_a_process_that_dies_is_replaced(program: str) -> None:
    """G22: each message costs one process at most."""
    reader = Reader((sys.executable, "-c", program), seconds=0.5)
    for _ in range(2):
        with pytest.raises(Unreadable):
            await read(reader, b"x" * 200_000)
    assert reader._process is None
    reader._command = Reader()._command
    reader._seconds = 20
    assert (await read(reader, WHOLE)).html == "<p>Grüße</p>"
    await reader.close()


POISON = """
import os, sys
from reconciler.service.mail import parsing
whole = parsing.view
def view(content, charset):
    if b"POISON" in content:
        os._exit(1)
    return whole(content, charset)
parsing.view = view
parsing.serve(os.fdopen(0, "rb"), os.fdopen(1, "wb"))
"""


async def kept_of(found: Desk, subject: str) -> Kept:
    (message,) = [one for one in await found.messages() if one.subject == subject]
    kept = await found.service.look(
        lambda connection: Inbox(connection, TENANT).find(NAME, message.id)
    )
    assert kept
    return kept


async def test_poison_is_tried_three_times_and_then_left_alone(tmp_path: Path) -> None:
    """G22: counted before each attempt, and everybody else's mail is read meanwhile."""
    readers = Readers([Reader((sys.executable, "-c", POISON)) for _ in range(2)])
    async with MailServer({USER: PASSWORD}) as server:
        for number, body in enumerate(("POISON\r\n", "fine\r\n"), 1):
            server.state.mailbox(USER).add(mail(number, body=body))
        gateway = on(server, protocol_type=ProtocolType.IMAP, receive_from=ReceiveFrom.ALL)
        async with desk(tmp_path, gateway, Secret(PASSWORD)) as found:
            await found.look_once()
            archive = Archive(found.service, TENANT)
            for attempt in range(1, 4):
                poison = await kept_of(found, "Question 1")
                assert poison.readings == attempt - 1
                shown = await archive.view(readers, poison, "UTF-8")
                assert shown.defects == ("cannot be read",)
                fine = await archive.view(readers, await kept_of(found, "Question 2"), "UTF-8")
                assert fine.text == "fine\r\n"
            poison = await kept_of(found, "Question 1")
            assert poison.message.defects == ("cannot be read",)
            started = [reader._process for reader in readers._readers]
            assert (await archive.view(readers, poison, "UTF-8")).defects == ("cannot be read",)
            assert [reader._process for reader in readers._readers] == started, "not tried again"
            assert b"POISON" in await found.raw(poison.message)
            assert (await kept_of(found, "Question 2")).was_read
    await readers.close()


async def test_who_gives_up_waiting_has_used_no_attempt(tmp_path: Path) -> None:
    slow = "import sys, time; sys.stdin.buffer.readline(); time.sleep(60)"
    readers = Readers([Reader((sys.executable, "-c", slow))])
    gateway = make_gateway(IMAP, NONE, 1, host="127.0.0.1")
    async with desk(tmp_path, gateway, RIG_PASSWORD) as found:
        await found.execute(
            "INSERT INTO inbox (tenant, id, gateway, position, received_at, size, complete, "
            "parsed) VALUES (?, 'x', ?, 1, '', 0, 1, ?)",
            TENANT,
            NAME,
            '{"from":"","to":[],"subject":"y","message_id":"","in_reply_to":"","defects":[]}',
        )
        archive = Archive(found.service, TENANT)
        viewing = asyncio.create_task(archive.view(readers, await kept_of(found, "y"), "UTF-8"))
        await asyncio.sleep(0.3)
        assert (await kept_of(found, "y")).readings == 1, "counted before it is tried"
        viewing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await viewing
        assert (await kept_of(found, "y")).readings == 0
    await readers.close()


async def test_one_tenant_does_not_have_all_readers() -> None:
    """A31: whose mail takes long waits for himself."""
    readers = Readers([Reader(), Reader()])
    async with readers.one("hostile"):
        started = time.monotonic()
        async with readers.one("acme") as reader:
            assert (await read(reader, WHOLE)).html
        assert time.monotonic() - started < 10
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), readers.one("hostile"):
                pass
    await readers.close()


async def test_the_process_has_nothing_to_give_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A31: neither the environment nor the files of the service, and bounded memory."""
    monkeypatch.setenv("GATEWAYS_KEY_FILE", "secret-path")
    spy = (
        "import json, os, resource, sys; sys.stdin.buffer.readline(); "
        "from reconciler.service.mail import parsing; parsing._confine(); "
        "print(json.dumps({'headers': [[k, v] for k, v in os.environ.items()], 'text': "
        "str(len(os.listdir('/proc/self/fd'))), 'html': str(resource.getrlimit("
        "resource.RLIMIT_AS)[0]), 'attachments': [], 'defects': []}), flush=True)"
    )
    reader = Reader((sys.executable, "-c", spy))
    found = await read(reader, b"")
    await reader.close()
    assert set(dict(found.headers)) <= {"PYTHONPATH", "PATH", "LC_ALL", "LC_CTYPE"}
    assert int(found.text) <= 4, "standard streams, and the folder that is listed"
    assert 0 < int(found.html) <= 1024**3
