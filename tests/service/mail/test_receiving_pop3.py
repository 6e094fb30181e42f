"""Receiving over POP3: what comes in, once, whatever the server calls its messages."""

import asyncio
import hashlib
import itertools
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from demo.mailserver import MailServer
from reconciler.model import ProtocolType, ReceiveFrom, Secret
from tests.platforms.contract import PASSWORD, USER, on
from tests.rig.gateways import POP3
from tests.rig.scripted import Peer, scripted
from tests.service.mail.incoming import HASTY, QUICK, desk, mail
from tests.service.mail.strange import StrangePop3, strange_desk


def named(*numbers: int, prefix: str = "u") -> list[tuple[str, bytes]]:
    return [(f"{prefix}{number}", mail(number)) for number in numbers]


async def test_what_is_new_is_fetched_once_and_nothing_is_deleted(tmp_path: Path) -> None:
    async with MailServer({USER: PASSWORD}) as server:
        mailbox = server.state.mailbox(USER)
        mailbox.add(mail(0))
        gateway = on(server, protocol_type=ProtocolType.POP3)
        async with desk(tmp_path, gateway, Secret(PASSWORD)) as found:
            assert await found.look_once()
            for number in range(1, 120):
                mailbox.add(mail(number))
            mailbox.add(mail(120, body=".\r\n..\r\n\r\n.x\r\n" + "y" * 600_000 + "\r\n.\r\n"))
            async with found.working():
                await found.until_count(120)
                await found.rest(2)
            stored = [hashlib.sha256(one.raw).hexdigest() for one in mailbox.messages[1:]]
            assert await found.digests() == stored
            assert not found.errors
        assert len(mailbox.messages) == 121
        assert not mailbox.drop_locked


async def test_between_looks_others_may_have_the_maildrop(tmp_path: Path) -> None:
    server = StrangePop3(*named(1, 2))
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3) as found:
            assert await found.work_once() == QUICK.poll_seconds
            assert server.heard[-1] == "QUIT"
            assert not server.said("DELE")
            server.heard.clear()
            assert await found.work_once() == QUICK.poll_seconds
    assert [text.partition(" ")[0] for text in server.heard] == [
        "CAPA",
        "AUTH",
        "STAT",
        "UIDL",
        "QUIT",
    ]


async def test_a_lock_in_use_is_no_refusal(tmp_path: Path) -> None:
    """G19: somebody else reads the maildrop: it is tried again."""
    server = StrangePop3(*named(1))
    answers = iter([b"-ERR [IN-USE] later\r\n"] * 2)
    server.answers["AUTH"] = lambda peer, _: peer.say(next(answers, b"+OK\r\n"))
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3) as found, found.working():
            await found.until_count(1)
            assert [error.failure.kind.value for error in found.errors] == ["busy"] * 2


async def test_two_messages_of_one_name(tmp_path: Path) -> None:
    """G19: told apart by their prints, also when one goes and another comes."""
    server = StrangePop3(("same", mail(1)), ("same", mail(2)), ("other", mail(3)))
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3) as found:
            for _ in range(2):
                await found.look_once()
            expected = ["Question 1", "Question 2", "Question 3"]
            assert await found.subjects() == expected
            del server.messages[0]
            await found.look_once()
            assert await found.subjects() == expected
            server.messages = [("same", mail(4))]
            await found.look_once()
            server.messages = [("same", mail(5)), ("same", server.messages[0][1])]
            for _ in range(2):
                await found.look_once()
            assert await found.subjects() == [*expected, "Question 4", "Question 5"]


async def test_a_name_that_becomes_that_of_two(tmp_path: Path) -> None:
    """G19: the one that was fetched under it is not fetched again."""
    first = ("same", mail(1))
    server = StrangePop3(first)
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3) as found:
            await found.look_once()
            server.messages = [("same", mail(2)), first, ("same", mail(3))]
            for _ in range(2):
                await found.look_once()
            assert await found.subjects() == ["Question 1", "Question 2", "Question 3"]


async def test_all_names_changed(tmp_path: Path) -> None:
    """G19: matched by their prints; what is left over is listed, and says so."""
    server = StrangePop3(*named(1, 2, 3))
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3) as found:
            await found.look_once()
            server.messages = [(f"new-{name}", raw) for name, raw in server.messages]
            server.messages += named(4)
            for _ in range(2):
                await found.look_once()
            messages = await found.messages()
            assert [one.subject for one in messages] == [f"Question {n}" for n in (1, 2, 3, 4)]
            assert [one.resync for one in messages] == [False, False, False, True]
            assert len(server.said("RETR")) == 4
            server.messages += named(5)
            await found.look_once()
            assert [one.resync for one in await found.messages()][4:] == [False]


async def test_one_name_changed(tmp_path: Path) -> None:
    """G19: a message that was fetched under another name, which is gone, is the same one."""
    server = StrangePop3(*named(1, 2, 3))
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3) as found:
            await found.look_once()
            server.messages[1] = ("renamed", server.messages[1][1])
            for _ in range(2):
                await found.look_once()
            assert len(await found.messages()) == 3
            assert len(server.said("RETR")) == 4


async def test_old_mail_does_not_become_new_with_its_names(tmp_path: Path) -> None:
    """G19: what was there before the gateway stays old, whatever it is called."""
    old = "from there by here; Wed, 22 Nov 2023 10:00:00 +0000"
    server = StrangePop3(*((f"u{n}", mail(n, Received=old)) for n in range(80)))
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3, receive_from=ReceiveFrom.NOW) as found:
            await found.look_once()
            assert not server.said("RETR")
            server.messages += named(100)
            await found.look_once()
            server.messages = [(f"new-{name}", raw) for name, raw in server.messages]
            server.messages += named(101)
            for _ in range(2):
                await found.look_once()
            assert await found.subjects() == ["Question 100", "Question 101"]


async def test_a_lost_cursor_is_no_flood(tmp_path: Path) -> None:
    """G17: what was dealt with is known by its names and prints."""
    server = StrangePop3(*named(1, 2))
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3, receive_from=ReceiveFrom.NOW) as found:
            await found.look_once()
            server.messages += named(3)
            await found.look_once()
            await found.execute("DELETE FROM inbox_cursors")
            server.messages += named(4)
            for _ in range(2):
                await found.look_once()
            assert await found.subjects() == ["Question 3", "Question 4"]


@pytest.mark.parametrize("top", [True, False], ids=["with TOP", "without TOP"])
async def test_no_names_at_all(tmp_path: Path, *, top: bool) -> None:
    """G19: then a message is its header, its size, and which of those that are alike it is."""
    twin = mail(2)
    server = StrangePop3(*(("", raw) for raw in (mail(1), twin)))
    server.answers["UIDL"] = server.no
    if not top:
        server.answers["TOP"] = server.no
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3) as found:
            for _ in range(2):
                await found.look_once()
            assert await found.subjects() == ["Question 1", "Question 2"]
            server.messages += [("", twin), ("", mail(3))]
            for _ in range(2):
                await found.look_once()
            expected = ["Question 1", "Question 2", "Question 2", "Question 3"]
            assert await found.subjects() == expected
            del server.messages[0]
            await found.look_once()
            assert await found.subjects() == expected


async def test_sizes_that_lie(tmp_path: Path) -> None:
    """G19: what counts is what comes; over the limit it is listed and left."""
    server = StrangePop3(*named(1), ("u2", mail(2, body="x" * 9_000)), *named(3))
    server.answers["LIST"] = lambda peer, _: peer.say(b"+OK\r\n1 7\r\n2 7\r\n3 7\r\n.\r\n")
    settings = replace(QUICK, max_bytes=5_000)
    with scripted(server) as running:
        async with (
            strange_desk(running, tmp_path, POP3, receiving=settings) as found,
            found.working(),
        ):
            await found.until_count(3)
            large = (await found.messages())[1]
            assert (large.subject, large.defects) == (
                "Question 2",
                ("too large: left on the mail server",),
            )
            await found.rest(1)
            assert len(await found.messages()) == 3


async def test_too_large_by_its_own_word(tmp_path: Path) -> None:
    """G21: what the list says is too large is not asked for."""
    server = StrangePop3(("u1", mail(1, body="x" * 9_000)), *named(2))
    settings = replace(QUICK, max_bytes=5_000)
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3, receiving=settings) as found:
            await found.look_once()
            assert [one.subject for one in await found.messages()] == ["Question 1", "Question 2"]
    assert server.said("RETR") == ["RETR 2"]


async def test_a_message_that_is_never_sent_does_not_stop_the_others(tmp_path: Path) -> None:
    server = StrangePop3(*named(1, 2, 3))
    own = server.do_retr
    server.answers["RETR"] = lambda peer, text: (server.no if text == "RETR 2" else own)(peer, text)
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3) as found, found.working():
            await found.until_count(3)
            left = (await found.messages())[2]
            assert left.defects == ("could not be fetched: left on the mail server",)
            assert not found.errors
            await found.rest(1)
    assert server.said("RETR").count("RETR 2") == 5
    assert server.said("RETR").count("RETR 3") == 1


async def test_cut_in_the_middle_of_a_message(tmp_path: Path) -> None:
    """G3: fetched again from the start, and listed once."""
    server = StrangePop3(*named(1), ("u2", mail(2, body="x" * 700_000 + "\r\n")))
    own = server.do_retr
    cuts = iter([1, 300_000, 650_000])

    def cut(peer: Peer, text: str) -> None:
        length = next(cuts, None) if text == "RETR 2" else None
        if length is None:
            own(peer, text)
        else:
            peer.say(b"+OK\r\n" + server.raw(text)[:length])
            peer.close()

    server.answers["RETR"] = cut
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, POP3) as found, found.working():
            await found.until_count(2)
            await found.rest(1)
            raws = [await found.raw(one) for one in await found.messages()]
            assert raws == [raw for _, raw in server.messages]
            assert len(found.errors) == 3
            assert await found.execute("SELECT count(*) FROM inbox") == [(2,)]


FLOODS = {
    "a list without end": ("UIDL", b"+OK\r\n", b"1 x\r\n" * 1_000),
    "names without end": ("UIDL", b"+OK\r\n", None),
    "a name without end": ("UIDL", b"+OK\r\n1 ", b"x" * 10_000),
    "an answer without end": ("UIDL", b"+OK", b"x" * 10_000),
    "a header without end": ("TOP", b"+OK\r\n", b"a: b\r\n" * 1_000),
    "a message without end": ("RETR", b"+OK\r\n", b"x" * 10_000),
    "colours": ("UIDL", b"", b"\x1b[31m\x1b]0;title\x07\r\n"),
}


async def test_floods_end_soon_and_take_little_memory(tmp_path: Path) -> None:
    """A30: limits on lines, lists and messages hold while mail is read."""
    settings = replace(QUICK, max_bytes=2_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    server = StrangePop3(("same", mail(1)), ("same", mail(2)))
    with scripted(server) as running:
        async with strange_desk(
            running, tmp_path, POP3, receiving=settings, deadlines=HASTY
        ) as found:
            for command, start, more in FLOODS.values():

                def flood(
                    peer: Peer, _text: str, start: bytes = start, more: bytes | None = more
                ) -> None:
                    peer.say(start)
                    for number in itertools.count(step=1_000):
                        lines = range(number, number + 1_000)
                        names = b"".join(b"%d name-%d\r\n" % (one, one) for one in lines)
                        peer.say(names if more is None else more)

                server.answers = {command: flood}
                found.errors.clear()
                rounds = found.rounds
                async with found.working():
                    while not found.errors and found.rounds < rounds + 2:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                assert all(error.failure.message.isprintable() for error in found.errors)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
