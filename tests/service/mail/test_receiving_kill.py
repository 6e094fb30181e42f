"""Killed again and again while mail comes in: no message is lost, and none is listed twice.

A fast sample by default; GATEWAYS_RECEIVE=big kills a hundred times for each protocol.
"""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model import ProtocolType
from tests.rig import MailRig
from tests.rig.gateways import IMAP, PASSWORD, POP3
from tests.service.mail.dovecot import DovecotMailbox
from tests.service.mail.incoming import QUICK, desk, mail

pytestmark = pytest.mark.interop

CHECKOUT = Path(__file__).parents[3]
BIG = os.environ.get("GATEWAYS_RECEIVE") == "big"
KILLS = 100 if BIG else 3
EACH_TIME = 60 if BIG else 40
LARGE = "x" * 1_500_000 + "\r\n"


@pytest.fixture
def mailbox(rig: MailRig) -> Iterator[DovecotMailbox]:
    found = DovecotMailbox(rig, "bob@example.test")
    found.clear()
    yield found
    found.clear()


@pytest.mark.timeout(3_600 if BIG else 120)
@pytest.mark.parametrize("protocol", [IMAP, POP3])
async def test_nothing_is_lost_and_nothing_comes_twice(
    mailbox: DovecotMailbox, tmp_path: Path, protocol: ProtocolType
) -> None:
    """G1: killed between the fetch and the store, and everywhere else."""
    gateway = mailbox.gateway(protocol)
    sent: list[str] = []
    when = random.Random(20)  # noqa: S311 - repeatable
    password = type(PASSWORD)(mailbox.rig.users[mailbox.user])
    async with desk(tmp_path, gateway, password):
        pass  # the gateway is made
    cut = behind = stored = 0
    started = time.monotonic()
    for turn in range(KILLS):
        process = receiver(tmp_path)
        delivering = asyncio.create_task(asyncio.to_thread(deliver, mailbox, turn, sent))
        try:
            await asyncio.to_thread(until_more, tmp_path, stored)
            await asyncio.sleep(when.uniform(0, 0.1))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
        await delivering
        async with desk(tmp_path, gateway, password) as found:
            cut += (await found.execute("SELECT count(*) FROM inbox WHERE complete = 0"))[0][0]
            stored = await found.count()
            behind += len(sent) > stored
    async with desk(tmp_path, gateway, password, receiving=replace(QUICK)) as found:
        while not await found.look_once():
            pass
        listed = Counter(await found.subjects())
        positions = await found.execute("SELECT position FROM inbox ORDER BY position")
        rest = await found.execute("SELECT count(*) FROM inbox WHERE complete = 0")
    lost = set(sent) - set(listed)
    twice = [subject for subject, count in listed.items() if count > 1]
    sys.stdout.write(
        f"{protocol}: {KILLS} kills in {time.monotonic() - started:.0f} s, {behind} while mail "
        f"came in, {cut} in the middle of a message; {len(sent)} messages, lost {len(lost)}, "
        f"twice {len(twice)}\n"
    )
    assert (lost, twice, rest) == (set(), [], [(0,)])
    assert behind, "no kill while mail came in would have proved nothing"
    assert [position for (position,) in positions] == list(range(1, len(sent) + 1))


def deliver(mailbox: DovecotMailbox, turn: int, sent: list[str]) -> None:
    """Small messages, and some that come in pieces among them."""
    messages = []
    for number in range(EACH_TIME):
        subject = f"Question {turn}-{number}"
        body = "Hello.\r\n" if number % 7 else LARGE
        messages.append(mail(turn * 1_000 + number, body=body, Subject=subject))
        sent.append(subject)
    mailbox.append(messages)


def until_more(folder: Path, stored: int) -> None:
    """Until the receiver has begun to store something of this turn."""
    connection = sqlite3.connect(f"file:{folder / 'platform.db'}?mode=ro", uri=True, timeout=30)
    end = time.monotonic() + 60
    while connection.execute("SELECT count(*) FROM inbox").fetchone()[0] <= stored:
        assert time.monotonic() < end
        time.sleep(0.005)
    connection.close()


def receiver(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.service.mail.receiving_process",
            str(folder / "platform.db"),
        ],
        cwd=CHECKOUT,
    )
