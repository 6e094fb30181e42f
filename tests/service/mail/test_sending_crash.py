"""Killed at any moment: no accepted message is lost, and none is sent twice by itself."""

import asyncio
import random
import re
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from demo.mailserver import MailServer
from reconciler.clock import exact, now
from reconciler.messages import MessageState, RecipientState
from reconciler.model import EncryptionMode, Gateway, ProtocolType, Secret
from reconciler.service.mail.handovers import Handovers
from reconciler.service.mail.queue import Queue
from reconciler.service.mail.settings import OutboxSettings
from tests.rig import MailRig
from tests.service.mail.outgoing import NAME, TENANT, Office, message, office
from tests.service.mail.scripted_smtp import CUT, Script, one_by_one, scripted_smtp

CHECKOUT = Path(__file__).parents[3]
USER, PASSWORD = "alice@example.test", "pw-alice"
SESSIONS = 2
SECONDS = 60
QUEUES = ("maildrop", "incoming", "active")

CHILD = """
    import asyncio, pathlib, sys
    from tests.service.mail.outgoing import MessageState, message, office
    from tests.service.mail.test_sending_crash import SESSIONS, OutboxSettings, Secret, gateway

    async def main(folder, port, run):
        numbers = iter(range(100_000 if run != "last" else 0))
        outbox = OutboxSettings(sessions=SESSIONS)
        async with office(
            pathlib.Path(folder), gateway(int(port)), Secret("pw-alice"), outbox=outbox
        ) as desk, desk.working():

            async def call():
                for number in numbers:
                    sent = await desk.accept(message(subject=f"{run} {number}"), f"{run} {number}")
                    print("accepted", sent.id, flush=True)

            await asyncio.gather(*(call() for _ in range(4)))
            while waiting := await desk.service.look(lambda connection: connection.execute(
                "SELECT count(*) FROM outbox WHERE state = 'queued'"
            ).fetchone()[0]):
                await asyncio.sleep(0.05)

    asyncio.run(main(*sys.argv[1:]))
"""


def gateway(port: int) -> Gateway:
    return Gateway(
        NAME,
        ProtocolType.SMTP,
        "127.0.0.1",
        port,
        user_id=USER,
        default_email_address=USER,
        default_user_name="Alice",
        encryption_mode=EncryptionMode.NONE,
    )


def started(folder: Path, port: int, run: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(folder), str(port), run],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def killed_again_and_again(folder: Path, port: int, rounds: int) -> set[str]:
    """The ids that were said to be accepted; at the end everything that waits has been sent."""
    accepted: set[str] = set()
    chance = random.Random(4)  # noqa: S311 - the same moments each time
    for number in range(rounds):
        process = started(folder, port, f"run-{number}")
        assert process.stdout
        first = await asyncio.to_thread(process.stdout.readline)
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        process.send_signal(signal.SIGKILL)
        printed, failed = await asyncio.to_thread(process.communicate)
        assert first.startswith("accepted"), failed
        lines = (first + printed).split("\n")[:-1]  # one that was cut short was never said
        accepted |= {line.split()[1] for line in lines}
    last = started(folder, port, "last")
    _, failed = await asyncio.to_thread(last.communicate, timeout=SECONDS)
    assert last.returncode == 0, failed
    return accepted


async def expect_none_lost_and_none_twice(
    folder: Path, accepted: set[str], arrived: "Counter[str]", rounds: int
) -> None:
    """`arrived` counts what the server has, of other tests too, by the id in its Message-ID."""
    async with office(folder, gateway(1), Secret(PASSWORD)) as desk:
        rows = await desk.service.look(
            lambda connection: connection.execute("SELECT id, state FROM outbox").fetchall()
        )
    states = dict(rows)
    assert accepted <= states.keys()
    assert set(states.values()) <= {"sent", "unknown"}
    unknown = {one for one, state in states.items() if state == "unknown"}
    assert [one for one in states if arrived[one] > 1] == []
    assert states.keys() - unknown <= arrived.keys()
    # only what each session was handing over at that very moment
    assert len(unknown) <= rounds * SESSIONS
    assert len(accepted) > 5 * rounds


def our_ids(raws: list[bytes]) -> "Counter[str]":
    found = [re.search(rb"^Message-ID: <(\w+)@", raw, re.MULTILINE) for raw in raws]
    return Counter(one[1].decode() for one in found if one)


async def test_killed_at_random_moments(tmp_path: Path) -> None:
    """G4: with a server that counts."""
    async with MailServer({USER: PASSWORD}) as server:
        port = server.port(ProtocolType.SMTP, EncryptionMode.NONE)
        accepted = await killed_again_and_again(tmp_path, port, 6)
        arrived = our_ids([one.raw for one in server.state.mailbox(USER).messages])
    await expect_none_lost_and_none_twice(tmp_path, accepted, arrived, 6)


@pytest.mark.interop
async def test_killed_at_random_moments_on_postfix(tmp_path: Path, rig: MailRig) -> None:
    """G4: and what it had accepted is in the mailbox."""
    accepted = await killed_again_and_again(tmp_path, rig.ports["smtp"], 3)
    async with asyncio.timeout(SECONDS):
        while any(any((rig.folder / "spool" / name).rglob("*")) for name in QUEUES):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    kept = [one.read_bytes() for one in (rig.folder / "mail").glob("*/new/*")]
    await expect_none_lost_and_none_twice(tmp_path, accepted, our_ids(kept), 3)


# what the next process makes of the notes


async def under_way(desk: Office, keys: list[str]) -> list[str]:
    """Messages that were claimed and that no process works on; their ids."""
    ids = [(await desk.accept(message(), key)).id for key in keys]
    await desk.service.write(
        lambda connection: Queue(connection, TENANT, NAME).claim(
            desk.service.epoch, exact(now()), len(keys)
        )
    )
    return ids


def notes_of(folder: Path, epoch: int, handed_over: list[int], accepted: list[int]) -> None:
    """As a process leaves them that was killed."""
    notes = Handovers(folder / "platform.db")
    notes.start(epoch)
    for number in handed_over:
        notes.note(number, 0)
    for number in accepted:
        notes.accepted(number)
    notes.close()


async def found_after_restart(folder: Path, ids: list[str]) -> list[str]:
    async with scripted_smtp() as server, office(folder, gateway(server.port), Secret("x")) as desk:
        async with desk.working():
            async with asyncio.timeout(20):
                while MessageState.QUEUED in [(await desk.sent(one)).state for one in ids]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        found = [await desk.sent(one) for one in ids]
        assert len(server.messages) == sum("250 " in one.recipients[0].answer for one in found)
        return [one.state.value for one in found]


async def test_the_notes_tell_what_was_handed_over(tmp_path: Path) -> None:
    """G4: next in line, handed over, and accepted before the outcome was on disk."""
    async with office(tmp_path, gateway(1), Secret("x")) as desk:
        ids = await under_way(desk, ["a", "b", "c"])
        epoch = desk.service.epoch
    notes_of(tmp_path, epoch, [2, 3], [3])
    assert await found_after_restart(tmp_path, ids) == ["sent", "unknown", "sent"]


@pytest.mark.parametrize("fault", ["no file", "empty", "short", "another start", "another epoch"])
async def test_without_notes_nothing_is_sent_again(tmp_path: Path, fault: str) -> None:
    """G4: after a fall of the machine, or where the file is not of this database any more."""
    async with office(tmp_path, gateway(1), Secret("x")) as desk:
        ids = await under_way(desk, ["a", "b"])
        epoch = desk.service.epoch
    notes_of(tmp_path, epoch - (fault == "another epoch"), [1], [])
    file = tmp_path / "platform.db.sending"
    data = file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
    match fault:
        case "no file":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "short":
            file.write_bytes(data[:20])
        case "another start":
            file.write_bytes(data[:16] + b"0" * 36 + data[52:])
        case _:
            pass
    assert await found_after_restart(tmp_path, ids) == ["unknown", "unknown"]


async def test_notes_of_many_messages_and_of_another_attempt(tmp_path: Path) -> None:
    notes = Handovers(tmp_path / "db")
    assert notes.earlier() is None
    notes.start(7)
    for number in range(3_000):
        notes.note(number, 0)
    for number in range(0, 3_000, 2):
        notes.forget(number)
    for number in range(10_000, 11_000):
        notes.note(number, 2)
    notes.accepted(10_000)
    now_, later = notes.now(), Handovers(tmp_path / "db").earlier()
    notes.close()
    assert later is not None
    assert later.epoch == now_.epoch == 7
    assert now_.handed_over <= later.handed_over
    for noted in (now_, later):
        assert noted.fate(1, 0) is RecipientState.UNKNOWN
        assert noted.fate(1, 1) is RecipientState.QUEUED
        assert noted.fate(10_000, 2) is RecipientState.SENT
        assert noted.fate(10_001, 2) is RecipientState.UNKNOWN
        assert noted.fate(99_999, 0) is RecipientState.QUEUED
    assert now_.fate(0, 0) is RecipientState.QUEUED
    assert len(now_.handed_over) == 2_500


async def test_work_that_ended_without_storing_its_outcome_leaves_nothing_under_way(
    tmp_path: Path,
) -> None:
    """G24: the disk took nothing for a while; what was not handed over goes out again."""
    async with scripted_smtp(Script(end=one_by_one("250 ok", CUT, "250 ok"))) as server:
        outbox = OutboxSettings(sessions=1)
        async with office(tmp_path, gateway(server.port), Secret("x"), outbox=outbox) as desk:
            ids = await under_way(desk, ["a", "b"])
            desk.service.handovers.start(desk.service.epoch)
            desk.service.handovers.note(2, 0)
            async with desk.working():
                first = await desk.until_state(ids[0], MessageState.SENT)
                await desk.until_state(ids[1], MessageState.UNKNOWN)
            assert first.recipients[0].answer == "250 ok"
            assert len(server.messages) == 1
