"""IMAP servers that are wrong, renumber, forget, or mean harm: nothing is lost, nothing twice."""

import resource
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.model import Gateway, ReceiveFrom
from reconciler.service.work import Soon
from tests.rig.gateways import IMAP, NONE, PASSWORD, make_gateway
from tests.rig.scripted import Peer, scripted
from tests.service.mail.incoming import HASTY, QUICK, Desk, desk, mail
from tests.service.mail.strange import StrangeImap, strange_desk


def three() -> dict[int, bytes]:
    return {uid: mail(uid) for uid in (1, 2, 3)}


SUBJECTS = ["Question 1", "Question 2", "Question 3"]


def numbered(validity: int) -> bytes:
    return b"* OK [UIDVALIDITY %d] x\r\n" % validity


async def test_numbered_anew_only_what_is_new_is_new(tmp_path: Path) -> None:
    """G16: matched by their prints; what is left over is listed, and says so."""
    server = StrangeImap(three())
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found:
            await found.look_once()
            server.validity = numbered(8)
            server.messages = {uid + 100: raw for uid, raw in server.messages.items()}
            server.messages[104] = mail(4)
            server.messages[105] = server.messages[101]  # a second copy is a second message
            await found.look_once()
            await found.look_once()
            messages = await found.messages()
            assert [one.subject for one in messages] == [*SUBJECTS, "Question 4", "Question 1"]
            assert [one.resync for one in messages] == [False] * 3 + [True] * 2
            server.messages[106] = mail(6)
            await found.look_once()
            assert [(one.subject, one.resync) for one in (await found.messages())[5:]] == [
                ("Question 6", False)
            ]


@pytest.mark.parametrize(
    "validity", [b"", numbered(0), b"* OK [UIDVALIDITY 99999999999] x\r\n"], ids=str
)
async def test_numbers_that_are_none(tmp_path: Path, validity: bytes) -> None:
    """G16: each session goes by prints, and nothing invalid is stored."""
    server = StrangeImap(three())
    server.validity = validity
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found:
            for _ in range(2):
                await found.look_once()
            server.messages = {uid + 10: raw for uid, raw in server.messages.items()}
            server.messages[14] = mail(4)
            for _ in range(2):
                await found.look_once()
            assert await found.subjects() == [*SUBJECTS, "Question 4"]
            assert await found.execute("SELECT cursor FROM inbox_cursors") == [("",)]


async def test_numbering_that_flaps(tmp_path: Path) -> None:
    """G16: there and back again, nothing comes twice."""
    server = StrangeImap(three())
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found:
            for turn in range(6):
                server.validity = numbered(7 + turn % 2)
                server.messages[10 + turn] = mail(10 + turn)
                await found.look_once()
            expected = [*SUBJECTS, *(f"Question {10 + turn}" for turn in range(6))]
            assert await found.subjects() == expected


async def test_numbered_anew_in_the_middle_of_a_session(tmp_path: Path) -> None:
    """G16: the session is opened anew, and then it is sorted out."""
    server = StrangeImap(three())
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found, found.working():
            await found.until_count(3)
            server.messages = {uid + 50: raw for uid, raw in server.messages.items()}
            server.messages[60] = mail(4)
            server.validity = numbered(9)

            def told(peer: Peer, tag: bytes, text: str) -> None:
                peer.say(numbered(9))
                server.search(peer, tag, text)

            server.answers["UID SEARCH"] = told
            await found.until_count(4)
            assert await found.subjects() == [*SUBJECTS, "Question 4"]
            assert found.rounds == 2


async def test_numbered_anew_in_every_session(tmp_path: Path) -> None:
    """G16: how soon the next is opened is left to whoever paces sessions."""
    server = StrangeImap(three())

    def told(peer: Peer, tag: bytes, text: str) -> None:
        peer.say(numbered(9))
        server.search(peer, tag, text)

    server.answers["UID SEARCH"] = told
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found:
            for _ in range(3):
                assert await found.work_once() == Soon(QUICK.poll_seconds)


@pytest.mark.parametrize("restored", [False, True], ids=["dates kept", "dates of the restore"])
async def test_old_mail_does_not_become_new_with_its_numbers(
    tmp_path: Path, *, restored: bool
) -> None:
    """G16: what was there before the gateway stays old, whatever it is called."""
    server = StrangeImap({uid: old_mail(uid) for uid in range(1, 200)})
    server.arrivals = dict.fromkeys(range(1, 200), "22-Nov-2023 10:00:00 +0000")
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, receive_from=ReceiveFrom.NOW) as found:
            await found.look_once()
            server.messages[200] = mail(200)
            await found.look_once()
            server.validity = numbered(8)
            server.messages[201] = mail(201)
            if restored:
                later = datetime.now(UTC) + timedelta(hours=2)
                moment = f"{later:%d-%b-%Y %H:%M:%S} +0000"
                server.arrivals = dict.fromkeys(server.messages, moment)
            await found.look_once()
            assert await found.subjects() == ["Question 200", "Question 201"]


async def test_a_sender_whose_clock_is_wrong_is_heard(tmp_path: Path) -> None:
    """G16: where the server's dates hold, nobody's own date makes a message old."""
    server = StrangeImap(three())
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, receive_from=ReceiveFrom.NOW) as found:
            await found.look_once()
            server.validity = numbered(8)
            server.messages[4] = old_mail(4)
            await found.look_once()
            assert await found.subjects() == ["Question 4"]


async def test_a_message_from_the_future_makes_none_old(tmp_path: Path) -> None:
    """G16: whoever appends a message may give it any date."""
    server = StrangeImap(three())
    server.arrivals = {2: "22-Nov-2099 10:00:00 +0000"}
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, receive_from=ReceiveFrom.NOW) as found:
            await found.look_once()
            server.validity = numbered(8)
            server.messages[4] = mail(4)
            await found.look_once()
            assert await found.subjects() == ["Question 4"]


def old_mail(number: int) -> bytes:
    return mail(number, Date="Wed, 22 Nov 2023 10:00:00 +0000")


@pytest.mark.parametrize("kept", ["now", "all"])
async def test_a_lost_cursor_is_no_flood(tmp_path: Path, kept: str) -> None:
    """G17: where to go on is found by what is known of the messages that are kept."""
    server = StrangeImap({uid: old_mail(uid) for uid in range(1, 60)})
    server.arrivals = dict.fromkeys(range(1, 60), "22-Nov-2023 10:00:00 +0000")
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, receive_from=ReceiveFrom(kept)) as found:
            await found.look_once()
            server.messages[60] = mail(60)
            await found.look_once()
            before = len(await found.messages())
            await found.execute("DELETE FROM inbox_cursors")
            server.messages[61] = mail(61)
            await found.look_once()
            await found.look_once()
            messages = await found.messages()
            assert len(messages) == before + 1
            assert messages[-1].subject == "Question 61"
            positions = await found.execute("SELECT position FROM inbox ORDER BY number")
            assert [position for (position,) in positions] == list(range(1, before + 2))


async def test_the_next_number_goes_back(tmp_path: Path) -> None:
    """G18: a server restored from a backup gives numbers again that it gave before."""
    server = StrangeImap(three())
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found:
            await found.look_once()
            server.messages = {1: server.messages[1], 2: mail(22)}
            await found.look_once()
            assert await found.subjects() == [*SUBJECTS, "Question 22"]
            server.messages[3] = mail(33)
            await found.look_once()
            assert await found.subjects() == [*SUBJECTS, "Question 22", "Question 33"]


async def test_gaps_and_messages_that_vanish(tmp_path: Path) -> None:
    """G18: what is gone before it is fetched is passed over."""
    server = StrangeImap({5: mail(5), 900: mail(900), 4_294_967_294: mail(1)})

    def vanishing(peer: Peer, tag: bytes, text: str) -> None:
        server.messages.pop(900, None)
        peer.say(b"* 2 EXPUNGE\r\n")
        server.fetch(peer, tag, text)

    server.answers["UID FETCH 5,900"] = vanishing
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found:
            await found.look_once()
            assert await found.subjects() == ["Question 5", "Question 1"]


async def test_what_was_not_asked_for_is_not_taken(tmp_path: Path) -> None:
    """G18: answers for other messages, twice the same, and talk between."""
    server = StrangeImap({1: mail(1), 2: mail(2)})

    def chatty(peer: Peer, tag: bytes, text: str) -> None:
        if "BODY.PEEK[]" not in text:
            server.fetch(peer, tag, text)
            return
        strange = mail(99)
        peer.say(b"* 1 FETCH (FLAGS (\\Seen UID 7))\r\n* 9 EXISTS\r\n* OK still here\r\n")
        peer.say(b"* 3 FETCH (UID 99 BODY[] {%d}\r\n" % len(strange) + strange + b")\r\n")
        peer.say(b"* 3 FETCH (BODY[] {%d}\r\n" % len(strange) + strange + b")\r\n")
        for uid in (2, 1, 1):
            raw = server.messages[uid]
            body = b"BODY[] {%d}\r\n" % len(raw) + raw
            peer.say(b"* %d FETCH (" % uid + body + b" FLAGS (x) UID %d)\r\n" % uid)
        server.say_done(peer, tag, b"* 2 RECENT")

    server.answers["UID FETCH"] = chatty
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found:
            await found.look_once()
            assert await found.subjects() == ["Question 1", "Question 2"]
            assert await found.execute("SELECT count(*) FROM inbox") == [(2,)]


async def test_bodies_in_every_form(tmp_path: Path) -> None:
    """G18: short ones may come in quotes, binary ones as literal8."""
    server = StrangeImap(dict.fromkeys((1, 2, 3, 4), b"..."))
    bodies = {
        1: b'""',
        2: b'"one \\"quoted\\" line"',
        3: b"{0}\r\n",
        4: b"~{3}\r\nabc",
    }

    def fetch(peer: Peer, tag: bytes, text: str) -> None:
        if "BODY.PEEK[]" in text:
            for uid, body in bodies.items():
                peer.say(b"* 1 FETCH (UID %d BODY[] " % uid + body + b")\r\n")
            server.say_done(peer, tag)
        else:
            server.fetch(peer, tag, text)

    server.answers["UID FETCH"] = fetch
    with scripted(server) as running:
        async with strange_desk(running, tmp_path) as found:
            await found.look_once()
            contents = [await found.raw(message) for message in await found.messages()]
    assert contents == [b"", b'one "quoted" line', b"", b"abc"]


@pytest.mark.parametrize("how", ["no", "nothing", "nil", "cut", "silence"])
async def test_one_message_that_is_never_sent_does_not_stop_the_others(
    tmp_path: Path, how: str
) -> None:
    """G18: it is tried five times, then listed as left on the server; nothing is out of order."""
    server = StrangeImap(three())

    def fetch(peer: Peer, tag: bytes, text: str) -> None:
        wanted = text.split(" ")[2].split(",")
        if "BODY.PEEK[]" not in text or "2" not in wanted:
            server.fetch(peer, tag, text)
            return
        if "1" in wanted:
            peer.say(b"* 1 FETCH (UID 1" + server.items(1, text) + b")\r\n")
        match how:
            case "no":
                peer.say(tag + b" NO [SERVERBUG] internal error\r\n")
            case "nothing":
                server.say_done(peer, tag)
            case "nil":
                server.say_done(peer, tag, b"* 2 FETCH (UID 2 BODY[] NIL)")
            case "cut":
                peer.say(b"* 2 FETCH (UID 2 BODY[] {1000}\r\nonly this")
                peer.close()
            case _:
                peer.say(b"* 2 FETCH (UID 2 BODY[] {1000}\r\nonly this")

    server.answers["UID FETCH"] = fetch
    with scripted(server) as running:
        async with (
            strange_desk(running, tmp_path, deadlines=HASTY) as found,
            found.working(),
        ):
            one, two, other = await found.until_count(3)
            assert (one.subject, other.subject) == ("Question 1", "Question 3")
            assert two.defects == ("could not be fetched: left on the mail server",)
            assert len(found.errors) == 5
            assert all(error.transient for error in found.errors)


async def test_sizes_that_lie(tmp_path: Path) -> None:
    """G21: the limit holds for what comes, whatever was said of it."""
    server = StrangeImap({1: mail(1), 2: mail(2, body="x" * 9_000), 3: mail(3)})

    def small(peer: Peer, tag: bytes, text: str) -> None:
        if "RFC822.SIZE" in text:
            for uid in sorted(server.messages):
                peer.say(b"* %d FETCH (UID %d RFC822.SIZE 10)\r\n" % (uid, uid))
            server.say_done(peer, tag)
        else:
            server.fetch(peer, tag, text)

    server.answers["UID FETCH"] = small
    settings = replace(QUICK, max_bytes=5_000)
    with scripted(server) as running:
        async with strange_desk(running, tmp_path, receiving=settings) as found, found.working():
            await found.until_count(3)
            assert await found.subjects() == ["Question 1", "", "Question 3"]
            assert (await found.messages())[1].defects == ("too large: left on the mail server",)


async def peak_of(found: Desk) -> int:
    """How much memory this process grew while one session was tried, in KiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with found.working():
        await found.until_errors(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


FLOODS = {
    "a search without end": ("UID SEARCH", b"* SEARCH", b" 1" * 10_000),
    "a search of one number": ("UID SEARCH", b"* SEARCH ", b"1" * 10_000),
    "searches without end": ("UID SEARCH", b"", b"* SEARCH 1\r\n" * 1_000),
    "talk without end": ("UID SEARCH", b"", b"* 1 FETCH (FLAGS ())\r\n" * 1_000),
    "a line without end": ("UID SEARCH", b"* OK ", b"x" * 10_000),
    "a giant literal in a search": ("UID SEARCH", b"* OK {9999999999}\r\n", b"x" * 10_000),
    "a giant header": ("UID FETCH", b"* 1 FETCH (BODY[HEADER] {99999999}\r\n", b"x" * 10_000),
    "a giant literal of facts": ("UID FETCH", b"* 1 FETCH (UID {9999999999}\r\n", b"x" * 10_000),
    "a number of digits": ("UID FETCH", b"* 1 FETCH (UID " + b"9" * 5_000, b")\r\n* OK\r\n"),
    "parentheses": ("UID FETCH", b"* 1 FETCH (X " + b"(" * 60_000 + b"\r\n", b"* OK\r\n"),
    "fetches without end": ("UID FETCH", b"", b"* 1 FETCH (UID 1 BODY[] {0}\r\n)\r\n" * 500),
    "idle without end": ("IDLE", b"+ idling\r\n", b"* 1 EXISTS\r\n" * 1_000),
    "colours": ("UID SEARCH", b"", b"\x1b[31m\x1b]0;title\x07\r\n"),
}


def strange_gateway(port: int) -> Gateway:
    return make_gateway(IMAP, NONE, port, host="127.0.0.1", receive_from=ReceiveFrom.ALL)


async def test_floods_end_soon_and_take_little_memory(tmp_path: Path) -> None:
    """A30: limits on lines, literals and replies hold while mail is read."""
    async with desk(tmp_path, strange_gateway(1), PASSWORD) as found:
        for name, (command, start, more) in FLOODS.items():
            server = StrangeImap({1: mail(1)})
            server.capabilities += b" IDLE"

            def flood(
                peer: Peer, _tag: bytes, _text: str, start: bytes = start, more: bytes = more
            ) -> None:
                peer.say(start)
                while True:
                    peer.say(more)

            server.answers[command] = flood
            with scripted(server) as running:
                found.gateway = replace(found.gateway, port=running.port)
                found.errors.clear()
                await found.execute("DELETE FROM inbox_cursors")
                assert await peak_of(found) < 64 * 1024, name
            for error in found.errors:
                assert error.failure.message.isprintable()
        assert await found.execute("SELECT count(*) FROM inbox WHERE complete = 0") == [(0,)]


async def test_a_message_that_trickles(tmp_path: Path) -> None:
    """A30: there is a least that must come within each deadline, so it holds nobody for ever."""
    server = StrangeImap({1: mail(1)})

    def trickle(peer: Peer, tag: bytes, text: str) -> None:
        if "BODY.PEEK[]" not in text:
            server.fetch(peer, tag, text)
            return
        peer.say(b"* 1 FETCH (UID 1 BODY[] {1000000}\r\n")
        for _ in range(200):
            peer.say(b"x")
            time.sleep(0.05)

    server.answers["UID FETCH"] = trickle
    with scripted(server) as running:
        async with (
            strange_desk(running, tmp_path, deadlines=HASTY) as found,
            found.working(),
        ):
            await found.until_errors(1)
            assert "did not send a message within 0.5 s" in found.errors[0].failure.message
