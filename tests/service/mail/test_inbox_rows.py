"""What is stored of received messages: in order, whole or not at all, and how long."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from demo.mailserver import MailServer
from reconciler.model import Gateway, ProtocolType, ReceiveFrom, Secret
from reconciler.service.faults import Unsound
from reconciler.service.mail.inbox import Arrived, Inbox, Summary
from reconciler.service.mail.progress import Cursor, Progress
from reconciler.service.mail.receiving_settings import ReceivingSettings
from reconciler.service.mail.retention import drop_old
from tests.platforms.contract import PASSWORD, USER, on
from tests.rig.gateways import IMAP, NONE, make_gateway
from tests.rig.gateways import PASSWORD as RIG_PASSWORD
from tests.service.mail.incoming import NAME, QUICK, TENANT, Desk, desk, mail

NOBODY = make_gateway(IMAP, NONE, 1, host="127.0.0.1")


async def arrive(found: Desk, *subjects: str, content: bytes = b"x") -> None:
    def job(connection: sqlite3.Connection) -> None:
        inbox = Inbox(connection, TENANT)
        for subject in subjects:
            arrived = Arrived(subject, subject, len(content), Summary(subject=subject), content)
            inbox.list_(NAME, arrived, found.service.clock().isoformat()[:19] + "Z")

    await found.service.write(job)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def test_positions_are_dense_and_never_given_twice(tmp_path: Path) -> None:
    clock = Clock()
    async with desk(tmp_path, NOBODY, RIG_PASSWORD, clock=clock) as found:
        await arrive(found, "1", "2", "3")
        assert (await found.page()).cursor == "3"
        clock.now += timedelta(days=31)
        assert await drop_old(found.service) == 3
        await arrive(found, "4")
        (message,) = (await found.page(after=3)).messages
        assert message.subject == "4"
        assert (await found.page(after=1)).dropped == 2
        assert await found.execute("SELECT dropped FROM inbox_cursors") == [(3,)]
        assert await found.execute("SELECT count(*) FROM inbox_content") == [(1,)]


async def test_what_is_kept_too_long_goes_and_the_rest_stays(tmp_path: Path) -> None:
    clock = Clock()
    async with desk(tmp_path, NOBODY, RIG_PASSWORD, clock=clock) as found:
        await arrive(found, "old", content=b"x" * 1_000_000)
        clock.now += timedelta(days=20)
        await arrive(found, "new")
        assert await drop_old(found.service) == 0
        clock.now += timedelta(days=11)
        assert await drop_old(found.service) == 1
        assert await found.subjects() == ["new"]


async def test_too_much_of_one_gateway_goes_from_the_oldest_on(tmp_path: Path) -> None:
    settings = ReceivingSettings(keep_bytes=2_500)
    async with desk(tmp_path, NOBODY, RIG_PASSWORD, receiving=settings) as found:
        await arrive(found, *map(str, range(5)), content=b"x" * 1_000)
        assert await drop_old(found.service) == 3
        assert await found.subjects() == ["3", "4"]
        assert (await found.page()).dropped == 3
        assert await drop_old(found.service) == 0


async def test_dropped_messages_do_not_come_again(tmp_path: Path) -> None:
    """What is no longer kept is still known: it stays on the server, and stays old."""
    clock = Clock()
    clock.now = datetime.now(UTC)
    async with MailServer({USER: PASSWORD}) as server:
        mailbox = server.state.mailbox(USER)
        for protocol in (ProtocolType.IMAP, ProtocolType.POP3):
            mailbox.add(mail(1))
            gateway = on(server, protocol_type=protocol, receive_from=ReceiveFrom.ALL)
            folder = tmp_path / protocol.value
            async with desk(folder, gateway, Secret(PASSWORD), clock=clock) as found:
                await found.look_once()
                count = len(mailbox.messages)
                assert len(await found.messages()) == count
                clock.now += timedelta(days=31)
                assert await drop_old(found.service) == count
                await found.look_once()
                assert await found.messages() == ()


async def test_a_message_in_pieces_is_seen_when_it_is_whole(tmp_path: Path) -> None:
    async with desk(tmp_path, NOBODY, RIG_PASSWORD) as found:

        def begin(connection: sqlite3.Connection) -> int:
            inbox = Inbox(connection, TENANT)
            number = inbox.begin(NAME, "2026-11-22T10:00:00Z")
            inbox.add_piece(number, 0, b"first ")
            inbox.add_piece(number, 1, b"second")
            return number

        number = await found.service.write(begin)
        assert await found.messages() == ()
        whole = Arrived("i", "p", 12, Summary(subject="whole"), number=number)
        await found.service.write(
            lambda connection: Inbox(connection, TENANT).list_(NAME, whole, "2026")
        )
        (message,) = await found.messages()
        assert await found.raw(message) == b"first second"


async def test_pieces_are_their_tenants(tmp_path: Path) -> None:
    """A35: a number alone opens nothing."""
    async with desk(tmp_path, NOBODY, RIG_PASSWORD) as found:
        await arrive(found, "1")
        ((number,),) = await found.execute("SELECT number FROM inbox")
        for tenant, content in ((TENANT, b"x"), ("other", None)):
            connection = await found.service.look(lambda connection: connection)
            assert Inbox(connection, tenant).piece(number, 0) == content


@pytest.mark.parametrize("cursor", ["x", "-1", "1 ", "1\n", "٣", "9" * 19])
async def test_cursors_that_are_none(tmp_path: Path, cursor: str) -> None:
    async with desk(tmp_path, NOBODY, RIG_PASSWORD) as found:
        with pytest.raises(ValueError, match="no cursor"):
            await found.service.look(
                lambda connection: Inbox(connection, TENANT).listed(NAME, cursor, 10)
            )


async def test_what_is_known_of_thousands(tmp_path: Path) -> None:
    names = [f"u{number}" for number in range(2_345)]
    async with desk(tmp_path, NOBODY, RIG_PASSWORD) as found:

        def job(connection: sqlite3.Connection) -> None:
            progress = Progress(connection, TENANT, NAME)
            for name in names[:2_000]:
                assert progress.remember("m", name, f"p{int(name[1:]) % 100}", "2026-01-01")
                assert not progress.remember("m", name, "other", "2026-01-02")
            progress.seen("m", names[1_000:], "2026-02-01")

        await found.service.write(job)

        def look(connection: sqlite3.Connection) -> None:
            progress = Progress(connection, TENANT, NAME)
            assert progress.known("m", names) == frozenset(names[:2_000])
            assert progress.known("another", names) == frozenset()
            assert progress.prints([f"p{n}" for n in range(200)]) == {
                f"p{n}": 20 for n in range(100)
            }
            assert Progress(connection, "other", NAME).known("m", names) == frozenset()

        await found.service.look(look)

        def forget(connection: sqlite3.Connection) -> str:
            progress = Progress(connection, TENANT, NAME)
            progress.forget_before("2026-01-15", 300)
            return progress.oldest()

        rounds = 1
        while await found.service.write(forget) < "2026-01-15":
            rounds += 1
        assert rounds == 4
        assert await found.execute("SELECT count(*) FROM inbox_known") == [(1_000,)]


async def test_a_message_that_stumbles_is_counted_in_a_row(tmp_path: Path) -> None:
    async with desk(tmp_path, NOBODY, RIG_PASSWORD) as found:

        def stumble(connection: sqlite3.Connection) -> list[int]:
            progress = Progress(connection, TENANT, NAME)
            return [progress.stumble(identity) for identity in ("a", "a", "b", "a")]

        assert await found.service.write(stumble) == [1, 2, 1, 1]
        await found.service.write(
            lambda connection: Progress(connection, TENANT, NAME).move(Cursor("m", "1.2"))
        )
        assert await found.service.look(
            lambda connection: Progress(connection, TENANT, NAME).stumbled()
        ) == ("a", 1)


@pytest.fixture
def large() -> bytes:
    return mail(2, body="x" * 3_000_000 + "\r\n")


def gateway_on(server: MailServer, protocol: ProtocolType) -> Gateway:
    return on(server, protocol_type=protocol, receive_from=ReceiveFrom.ALL)


@pytest.mark.parametrize("protocol", [ProtocolType.IMAP, ProtocolType.POP3])
async def test_a_full_disk_stops_fetching_and_loses_nothing(
    tmp_path: Path, large: bytes, protocol: ProtocolType
) -> None:
    """G24: mail stays on the server; with room again it comes, by itself."""
    async with MailServer({USER: PASSWORD}) as server:
        mailbox = server.state.mailbox(USER)
        async with desk(tmp_path, gateway_on(server, protocol), Secret(PASSWORD)) as found:
            ((pages,),) = await found.execute("PRAGMA page_count")
            await found.execute(f"PRAGMA max_page_count = {pages + 100}")
            for raw in (mail(1), large, mail(3)):
                mailbox.add(raw)
            async with found.working():
                await found.until_count(1)
                await found.rest(3)
                assert await found.subjects() == ["Question 1"]
                assert not found.errors, "the sessions are in order"
                await found.execute("PRAGMA max_page_count = 1000000")
                await found.until_count(3)
            assert await found.subjects() == ["Question 1", "Question 2", "Question 3"]
            assert [await found.raw(one) for one in await found.messages()] == [
                one.raw for one in mailbox.messages
            ]
            assert await found.execute("SELECT count(*) FROM inbox") == [(3,)]


async def test_some_of_the_disk_is_left_to_others(tmp_path: Path) -> None:
    """G24: fetching stops before the disk is full, so that writes of other kinds go on."""
    settings = replace(QUICK, reserve_bytes=2**60)
    async with MailServer({USER: PASSWORD}) as server:
        server.state.mailbox(USER).add(mail(1))
        gateway = gateway_on(server, ProtocolType.IMAP)
        async with desk(tmp_path, gateway, Secret(PASSWORD), receiving=settings) as found:
            assert await found.work_once() == settings.pause_seconds
            assert await found.messages() == ()
            await arrive(found, "another write")


async def test_who_was_overtaken_stores_nothing(tmp_path: Path) -> None:
    """G30: every write of a session looks at the fencing number first."""
    async with MailServer({USER: PASSWORD}) as server:
        server.state.mailbox(USER).add(mail(1))
        async with desk(tmp_path, gateway_on(server, ProtocolType.IMAP), Secret(PASSWORD)) as found:
            await found.execute("UPDATE epochs SET epoch = epoch + 1")
            with pytest.raises(Unsound):
                await found.work_once()
            assert found.service.fatal.is_set()
        connection = sqlite3.connect(tmp_path / "platform.db")
        assert connection.execute("SELECT count(*) FROM inbox").fetchone() == (0,)
        connection.close()
