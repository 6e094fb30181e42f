"""Receiving over IMAP: what comes in, once, and the mailbox stays as it was."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.mailserver import MailServer
from demo.mailserver.state import Mailbox
from reconciler.model import ProtocolType, ReceiveFrom, Secret
from reconciler.service.feed import About
from reconciler.service.mail.receiving_settings import ReceivingSettings
from tests.platforms.contract import PASSWORD, USER, on, until
from tests.rig.scripted import Peer, scripted
from tests.service.mail.incoming import QUICK, TENANT, Desk, create, desk, mail
from tests.service.mail.strange import StrangeImap, strange_desk


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer({USER: PASSWORD}) as running:
        yield running


@pytest.fixture
def mailbox(server: MailServer) -> Mailbox:
    return server.state.mailbox(USER)


@asynccontextmanager
async def desk_of(server: MailServer, folder: Path, **fields: Any) -> AsyncIterator[Desk]:
    receiving = fields.pop("receiving", QUICK)
    gateway = on(server, protocol_type=ProtocolType.IMAP, **fields)
    async with desk(folder, gateway, Secret(PASSWORD), receiving=receiving) as found:
        yield found


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


async def test_first_contact_begins_with_the_next_message(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    for number in range(3):
        mailbox.add(mail(number))
    async with desk_of(server, tmp_path) as found, found.working():
        await found.rest(1)
        await until_idle(mailbox)
        mailbox.add(mail(3))
        (message,) = await found.until_count(1)
        assert (message.subject, message.sender) == ("Question 3", "alice.b@example.com")
        assert (message.to, message.message_id) == (("support@example.test",), "<3@example.com>")
        assert (message.defects, message.resync) == ((), False)
        assert await found.raw(message) == mailbox.messages[3].raw
    assert all(not one.flags for one in mailbox.messages)


async def test_all_mail_counts_as_new_where_that_is_declared(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    for number in range(120):
        mailbox.add(mail(number))
    async with desk_of(server, tmp_path, receive_from=ReceiveFrom.ALL) as found:
        await found.look_once()
        assert await found.digests() == [digest(one.raw) for one in mailbox.messages]
        assert not any(one.resync for one in await found.messages())


async def test_new_mail_is_told_at_once(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    """Long before anybody would look again."""
    settings = ReceivingSettings(idle_seconds=600, poll_seconds=600, reserve_bytes=0)
    async with desk_of(server, tmp_path, receiving=settings) as found, found.working():
        with found.service.feed.listen(About.INBOX) as listener:
            await until_idle(mailbox)
            mailbox.add(mail(1))
            async with asyncio.timeout(5):
                changed = await listener.next()
        assert (changed.tenant, changed.gateway) == (TENANT, found.gateway.name)
        assert await found.subjects() == ["Question 1"], "stored before it is told"


async def test_idle_is_asked_for_anew_and_finds_what_was_not_told(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    """G10: a mailbox that says nothing is looked through all the same."""
    settings = replace(QUICK, idle_seconds=0.2)
    async with desk_of(server, tmp_path, receiving=settings) as found, found.working():
        await until_idle(mailbox)
        mailbox.watchers.clear()
        mailbox.add(mail(1))
        await found.until_count(1)
        assert found.rounds == 1, "in the same session"


async def test_what_came_while_nobody_was_connected_is_fetched_once(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    """G10: the gap is closed from where the last session ended."""
    async with desk_of(server, tmp_path) as found, found.working():
        await until_idle(mailbox)
        mailbox.add(mail(1))
        await found.until_count(1)
        await server.stop()
        for number in (2, 3):
            mailbox.add(mail(number))
        await server.start()
        await found.until_count(3)
        await found.rest(0)
        assert await found.subjects() == ["Question 1", "Question 2", "Question 3"]
        assert found.errors, "the session was lost"


async def test_ended_in_idle_it_says_goodbye(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    heard: list[bytes] = []
    async with desk_of(server, tmp_path) as found:
        async with found.working():
            await until_idle(mailbox)
            assert found.held
            wire, send = found.held.session.wire, found.held.session.wire.send

            async def listening(*lines: bytes) -> None:
                heard.extend(lines)
                await send(*lines)

            wire.send = listening  # type: ignore[method-assign]
        assert heard[0] == b"DONE"
        assert heard[1].endswith(b"LOGOUT")


async def test_the_same_message_twice_is_two(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    """G41: what a message is called is the server's affair, not its Message-ID."""
    async with desk_of(server, tmp_path, receive_from=ReceiveFrom.ALL) as found:
        raw = mail(1)
        for _ in range(2):
            mailbox.add(raw)
        await found.look_once()
        assert await found.digests() == [digest(raw)] * 2
        mailbox.add(raw)
        await found.look_once()
        assert await found.digests() == [digest(raw)] * 3


async def test_through_two_gateways_a_message_is_each_ones(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    """G41: one mailbox, read by two gateways of one service."""
    mailbox.add(mail(1))
    async with desk_of(server, tmp_path, receive_from=ReceiveFrom.ALL) as found:
        other = Desk(found.service, replace(found.gateway, name="another"), found.password)
        await create(other)
        for each in (found, other, found):
            await each.look_once()
        assert await found.subjects() == await other.subjects() == ["Question 1"]
        assert (await found.messages())[0].id != (await other.messages())[0].id


@pytest.mark.parametrize(
    "size", [1, 65_536, 262_143, 262_144, 262_145, 1_000_003], ids="{:,}".format
)
async def test_sizes_around_pieces(
    server: MailServer, mailbox: Mailbox, tmp_path: Path, size: int
) -> None:
    head = mail(1, body="")
    raw = head + b"x" * max(0, size - len(head))
    mailbox.add(raw[:size] if size < len(head) else raw)
    async with desk_of(server, tmp_path, receive_from=ReceiveFrom.ALL) as found:
        await found.look_once()
        assert await found.digests() == [digest(mailbox.messages[0].raw)]
        assert [one.size for one in await found.messages()] == [len(mailbox.messages[0].raw)]


async def test_an_empty_message_is_one(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    mailbox.add(b"")
    async with desk_of(server, tmp_path, receive_from=ReceiveFrom.ALL) as found:
        await found.look_once()
        (message,) = await found.messages()
        assert (message.size, await found.raw(message)) == (0, b"")
        assert message.defects == ("no sender's address",)


async def test_too_large_is_listed_and_left(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    """G21: over the limit only what is in its header is fetched, and mail goes on."""
    mailbox.add(mail(1, body="x" * 5_000))
    mailbox.add(mail(2))
    settings = replace(QUICK, max_bytes=4_000)
    async with desk_of(server, tmp_path, receive_from=ReceiveFrom.ALL, receiving=settings) as found:
        await found.look_once()
        large, small = await found.messages()
        assert (large.subject, large.size) == ("Question 1", len(mailbox.messages[0].raw))
        assert large.defects == ("too large: left on the mail server",)
        assert await found.raw(large) == b""
        assert small.subject == "Question 2"


async def test_the_sender_as_the_gateway_is_declared(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    mailbox.add(mail(1))
    async with desk_of(
        server, tmp_path, receive_from=ReceiveFrom.ALL, case_sensitivity=True
    ) as found:
        await found.look_once()
        assert [one.sender for one in await found.messages()] == ["Alice.B@Example.COM"]


async def test_polling_where_there_is_no_idle(tmp_path: Path) -> None:
    server = StrangeImap({1: mail(1)})
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found, found.working():
            await found.until_count(1)
            server.messages[2] = mail(2)
            await found.until_count(2)
            assert found.rounds == 1
    assert server.said("NOOP")
    assert not server.said("IDLE")


async def test_idle_that_is_offered_and_refused(tmp_path: Path) -> None:
    """G42: asked once, then polled for as long as the session lasts."""
    server = StrangeImap({1: mail(1)})
    server.capabilities += b" IDLE"
    server.answers["IDLE"] = lambda peer, tag, _: peer.say(tag + b" NO not today\r\n")
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found, found.working():
            await found.until_count(1)
            server.messages[2] = mail(2)
            await found.until_count(2)
            server.messages[3] = mail(3)
            await found.until_count(3)
            assert found.rounds == 1
    assert len(server.said("IDLE")) == 1


async def test_what_is_told_while_it_is_looked_for_is_looked_for_again(tmp_path: Path) -> None:
    """G10: IDLE does not tell again what was told before it, in the answer to a search."""
    server = StrangeImap({1: mail(1)})
    server.capabilities += b" IDLE"

    def late(peer: Peer, tag: bytes, text: str) -> None:
        searches = len(server.said("UID SEARCH"))
        found = b"".join(b" %d" % uid for uid in server.matching(text[11:]))
        told = []
        if searches < 5:  # the message comes right after it was looked for, and is told of
            server.messages[searches + 1] = mail(searches + 1)
            told = [b"* %d EXISTS" % len(server.messages)]
        server.say_done(peer, tag, b"* SEARCH" + found, *told)

    def idle(peer: Peer, tag: bytes, _text: str) -> None:
        peer.say(b"+ idling\r\n")
        peer.hear()
        server.say_done(peer, tag)

    server.answers = {"UID SEARCH": late, "IDLE": idle}
    settings = replace(QUICK, idle_seconds=600)
    with scripted(server) as running:
        async with (
            strange_desk(running, tmp_path, receiving=settings) as found,
            found.working(),
        ):
            await found.until_count(5)


async def test_offers_after_the_login_count(tmp_path: Path) -> None:
    server = StrangeImap({})
    server.answers["CAPABILITY"] = lambda peer, tag, _: server.say_done(
        peer,
        tag,
        b"* CAPABILITY IMAP4rev1 AUTH=PLAIN" + (b" IDLE" if server.said("AUTHENTICATE") else b""),
    )

    def idle(peer: Peer, tag: bytes, _text: str) -> None:
        peer.say(b"+ idling\r\n")
        peer.hear()
        server.say_done(peer, tag)

    server.answers["IDLE"] = idle
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found, found.working():
            await until(lambda: bool(server.said("IDLE")))


async def until_idle(mailbox: Mailbox) -> None:
    await until(lambda: bool(mailbox.watchers))
