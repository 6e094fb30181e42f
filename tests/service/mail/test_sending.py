"""What becomes of messages, whatever the server says and whenever it is cut off."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.clock import now
from reconciler.messages import MessageState, SentMessage
from reconciler.model import EncryptionMode, Gateway, ProtocolType, Secret
from reconciler.service.mail import sending
from reconciler.service.mail.aging import age
from reconciler.service.mail.settings import OutboxSettings
from reconciler.service.sessions import SessionError
from tests.service.mail.outgoing import HASTY, Office, message, office
from tests.service.mail.scripted_smtp import (
    CUT,
    SILENT,
    Script,
    ScriptedSmtp,
    one_by_one,
    scripted_smtp,
)

PASSWORD = Secret("pw")
ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.org"


class Later:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.by = timedelta()

    def __call__(self) -> datetime:
        return now() + self.by


@asynccontextmanager
async def desk(
    folder: Path, script: Script | None = None, **settings: Any
) -> AsyncIterator[tuple[Office, ScriptedSmtp]]:
    """An office whose gateway is on a scripted server."""
    outbox = OutboxSettings(**{"sessions": 1, **settings.pop("outbox", {})})
    async with scripted_smtp(script) as server:
        gateway = Gateway(
            "out",
            ProtocolType.SMTP,
            "127.0.0.1",
            server.port,
            user_id="support",
            default_email_address="support@example.com",
            default_user_name="Support",
            encryption_mode=EncryptionMode.NONE,
        )
        settings = {"deadlines": HASTY, **settings}
        async with office(folder, gateway, PASSWORD, outbox=outbox, **settings) as running:
            yield running, server


async def heard(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


def states(sent: SentMessage) -> list[str]:
    return [one.state.value for one in sent.recipients]


def answers(sent: SentMessage) -> list[str]:
    return [one.answer for one in sent.recipients]


def attempted(sent: SentMessage) -> bool:
    return any(one.attempts for one in sent.recipients)


async def test_a_message_goes_out_once_with_its_envelope(tmp_path: Path) -> None:
    async with desk(tmp_path) as (running, server):
        accepted = await running.accept(message((ANN, BOB), bcc=(EVE,)), "key")
        async with running.working():
            sent = await running.until_state(accepted.id, MessageState.SENT)
        assert states(sent) == ["sent"] * 3
        assert answers(sent) == ["250 2.0.0 queued"] * 3
        (received,) = server.messages
        assert received.recipients == [ANN, BOB, EVE]
        assert received.sender == f"MAIL FROM:<support@example.com> SIZE={sent.size}"
        assert len(received.raw) == sent.size
        assert b'From: "Support"\r\n <support@example.com>\r\n' in received.raw
        # one round trip for all commands
        assert server.lines[-4:-1] == [received.sender, f"RCPT TO:<{BOB}>", f"RCPT TO:<{EVE}>"] or (
            server.heard("RSET") == []
        )


@pytest.mark.parametrize("offers", [(), ("PIPELINING",), ("SIZE",), ("PIPELINING", "SIZE")])
async def test_only_what_is_offered_is_used(tmp_path: Path, offers: tuple[str, ...]) -> None:
    async with desk(tmp_path, Script(offers=offers)) as (running, server):
        numbers = [(await running.accept(message(ANN), f"{n}")).id for n in range(12)]
        async with running.working():
            for one in numbers:
                await running.until_state(one, MessageState.SENT)
        assert len(server.messages) == 12
        assert all(("SIZE=" in line) is ("SIZE" in offers) for line in server.heard("MAIL"))
        assert not any("BODY" in line or "UTF8" in line for line in server.heard("MAIL"))


async def test_in_the_order_of_acceptance(tmp_path: Path) -> None:
    async with desk(tmp_path) as (running, server):
        for number in range(40):
            await running.accept(message(ANN, subject=f"number {number:02}"), f"{number}")
        async with running.working():
            await heard(lambda: len(server.messages) == 40)
        found = [re.search(rb"number (\d+)", one.raw) for one in server.messages]
        assert [int(one[1]) for one in found if one] == list(range(40))
        assert server.connections == 1


# per recipient


def refusing(**replies: str) -> Callable[[str], str]:
    """A reply to RCPT by the recipient's name."""

    def reply(line: str) -> str:
        name = line.partition("<")[2].partition("@")[0]
        return replies.get(name, "250 2.1.5 ok")

    return reply


@pytest.mark.parametrize("pipelining", [True, False])
async def test_each_recipient_has_its_own_fate(tmp_path: Path, *, pipelining: bool) -> None:
    """G7: accepted ones once, refused ones never again, others in a transaction of their own."""
    offers = ("PIPELINING",) if pipelining else ()
    script = Script(offers, recipient=refusing(bob="450 4.2.0 later", eve="550 5.1.1 unknown"))
    clock = Later()
    async with desk(tmp_path, script, clock=clock) as (running, server):
        accepted = await running.accept(message((ANN, BOB, EVE)), "key")
        async with running.working():
            sent = await running.until(accepted.id, attempted)
            assert (sent.state, states(sent)) == (MessageState.QUEUED, ["sent", "queued", "failed"])
            assert answers(sent) == ["250 2.0.0 queued", "450 4.2.0 later", "550 5.1.1 unknown"]
            assert sent.next_attempt_at
            first = server.messages[0]
            assert first.recipients == [ANN]
            server.script.recipient = "250 ok"
            server.lines.clear()
            clock.by = timedelta(minutes=6)
            running.wake()
            sent = await running.until_state(accepted.id, MessageState.PARTLY_SENT)
        assert [one.attempts for one in sent.recipients] == [1, 2, 1]
        assert server.heard("RCPT") == [f"RCPT TO:<{BOB}>"]
        assert [one.recipients for one in server.messages] == [[ANN], [BOB]]
        assert server.messages[1].raw == first.raw  # the same Message-ID


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("script", "state", "answer"),
    [
        (Script(mail="550 5.7.1 no"), "failed", "550 5.7.1 no"),
        (Script(mail="451 4.3.0 later"), "queued", "451 4.3.0 later"),
        (Script(recipient="550 5.1.1 no"), "failed", "550 5.1.1 no"),
        (Script(recipient="450 4.1.1 later"), "queued", "450 4.1.1 later"),
        (Script(data="554 5.5.1 no"), "failed", "554 5.5.1 no"),
        (Script(data="451 4.3.0 later"), "queued", "451 4.3.0 later"),
        (Script(end="552 5.3.4 too big"), "failed", "552 5.3.4 too big"),
        (Script(end="452 4.3.1 no space"), "queued", "452 4.3.1 no space"),
        (Script(end="250-first\n250 second"), "sent", "250 first second"),
        (Script(end="299 strange"), "sent", "299 strange"),
        (Script(recipient="399 strange"), "queued", "399 strange"),
    ],
)
async def test_what_a_reply_means(
    tmp_path: Path, script: Script, state: str, answer: str, *, pipelining: bool
) -> None:
    """G6: by its first digit; the next message goes out on the same session."""
    script = replace(script, offers=("PIPELINING",) if pipelining else ())
    async with desk(tmp_path, script) as (running, server):
        accepted = await running.accept(message(ANN), "one")
        async with running.working():
            sent = await running.until(accepted.id, attempted)
            assert (states(sent), answers(sent)) == ([state], [answer])
            server.script = Script(server.script.offers)
            after = await running.accept(message(ANN, subject="after"), "two")
            await running.until_state(after.id, MessageState.SENT)
        assert server.connections == 1
        assert b"Subject: after" in server.messages[-1].raw
        assert len(server.messages) == (2 if state == "sent" else 1)


@pytest.mark.parametrize("step", ["mail", "recipient", "data", "end"])
@pytest.mark.parametrize(
    "reply", ["421 4.3.2 shutting down", "250-half", "garbage", "99 x", "1234 x"]
)
async def test_a_goodbye_or_nonsense_is_for_now(tmp_path: Path, step: str, reply: str) -> None:
    """G6: the session ends; the message is tried again later, unless the server may have it."""
    script = Script(offers=())
    setattr(script, step, reply + CUT if reply == "250-half" else reply)
    async with desk(tmp_path, script) as (running, server):
        accepted = await running.accept(message(ANN), "key")
        async with running.working():
            sent = await running.until(accepted.id, attempted)
            doubtful = step == "end" and not reply.startswith("421")
            assert states(sent) == ["unknown" if doubtful else "queued"]
            assert sent.recipients[0].answer
            server.script = Script()
            after = await running.accept(message(BOB), "after")
            await running.until_state(after.id, MessageState.SENT)
        assert server.connections >= 2
        kept = [[ANN]] if doubtful and reply.startswith("250") else []
        assert [one.recipients for one in server.messages] == [*kept, [BOB]]


# cut off


@pytest.mark.parametrize("what", [CUT, SILENT])
async def test_cut_after_the_end_nobody_can_tell(tmp_path: Path, what: str) -> None:
    """G5, G4: the message is held, not sent again, and a person can have it sent again."""
    async with desk(tmp_path, Script(end=what)) as (running, server):
        accepted = await running.accept(message((ANN, BOB)), "key")
        async with running.working():
            sent = await running.until_state(accepted.id, MessageState.UNKNOWN)
            assert states(sent) == ["unknown", "unknown"]
            assert sent.next_attempt_at is None
            server.script = Script()
            after = await running.accept(message(EVE), "after")
            await running.until_state(after.id, MessageState.SENT)
            assert [one.recipients for one in server.messages] == [[ANN, BOB], [EVE]]
            # decided by a person
            again = await running.resend(accepted.id)
            assert again.state is MessageState.QUEUED
            await running.until_state(accepted.id, MessageState.SENT)
        assert [one.recipients for one in server.messages] == [[ANN, BOB], [EVE], [ANN, BOB]]
        assert server.messages[0].raw == server.messages[2].raw


@pytest.mark.parametrize("step", ["mail", "recipient", "data"])
async def test_cut_before_the_end_is_tried_again(tmp_path: Path, step: str) -> None:
    script = Script()
    setattr(script, step, CUT)
    clock = Later()
    async with desk(tmp_path, script, clock=clock) as (running, server):
        accepted = await running.accept(message(ANN), "key")
        async with running.working():
            sent = await running.until(accepted.id, attempted)
            assert states(sent) == ["queued"]
            server.script = Script()
            clock.by = timedelta(minutes=6)
            running.wake()
            await running.until_state(accepted.id, MessageState.SENT)
        assert len(server.messages) == 1


async def test_cut_in_the_middle_of_the_content_is_tried_again(tmp_path: Path) -> None:
    clock = Later()
    text = "line after line\n" * 500_000
    script = Script(cut_after_content_bytes=100_000)
    patient = replace(HASTY, verdict=15)
    async with desk(tmp_path, script, clock=clock, deadlines=patient) as (running, server):
        accepted = await running.accept(message(ANN, text=text), "key")
        async with running.working():
            sent = await running.until(accepted.id, attempted)
            assert (states(sent), server.messages) == (["queued"], [])
            server.script = Script()
            clock.by = timedelta(minutes=6)
            running.wake()
            await running.until_state(accepted.id, MessageState.SENT)
        assert server.messages[0].raw.endswith(text.replace("\n", "\r\n").encode())


async def test_the_rest_of_a_lot_waits_for_no_pause(tmp_path: Path) -> None:
    """Of many messages one is hit by the cut; the others are sent at once, none twice."""
    replies = one_by_one(*["250 ok"] * 5, CUT, "250 ok")
    async with desk(tmp_path, Script(end=replies)) as (running, server):
        numbers = [(await running.accept(message(ANN), f"{n}")).id for n in range(30)]
        async with running.working():
            found = [
                await running.until(one, lambda sent: sent.state is not MessageState.QUEUED)
                for one in numbers
            ]
        assert [one.state.value for one in found].count("sent") == 29
        assert found[5].state is MessageState.UNKNOWN
        assert len(server.messages) == 30


async def test_a_server_that_stalls_is_given_up(tmp_path: Path) -> None:
    """G8: in each step, within its deadline; nothing was handed over."""
    for step in ("mail", "recipient", "data"):
        script = Script(offers=())
        setattr(script, step, SILENT)
        async with desk(tmp_path / step, script) as (running, server):
            accepted = await running.accept(message(ANN), "key")
            async with running.working():
                sent = await running.until(accepted.id, attempted)
            assert states(sent) == ["queued"]
            assert "within 1 s" in answers(sent)[0]
            assert server.messages == []


async def test_another_session_goes_on_beside_a_stuck_one(tmp_path: Path) -> None:
    """G8: one server process that hangs holds up one message."""
    hang = one_by_one(SILENT, "250 ok")
    deadlines = replace(HASTY, verdict=3)
    async with desk(tmp_path, Script(end=hang), outbox={"sessions": 3}, deadlines=deadlines) as (
        running,
        server,
    ):
        numbers = [(await running.accept(message(ANN), f"{n}")).id for n in range(60)]
        async with running.working():
            started = asyncio.get_running_loop().time()
            await until_states(running, numbers, {"sent": 58, "queued": 2})
            assert asyncio.get_running_loop().time() - started < 2.5
            await until_states(running, numbers, {"sent": 59, "unknown": 1})
        assert server.connections <= 4
        assert len(server.messages) == 60


async def until_states(running: Office, numbers: list[str], wanted: dict[str, int]) -> None:
    async with asyncio.timeout(20):
        found: dict[str, int] = {}
        while found != wanted:
            await asyncio.sleep(0.05)
            found = dict(Counter([(await running.sent(one)).state.value for one in numbers]))


# extensions


@pytest.mark.parametrize(
    "reply", ["555 5.5.4 unsupported", "501 5.5.4 what?", "503 5.5.1 no", "504 no"]
)
async def test_an_extension_that_is_refused_is_left_alone(tmp_path: Path, reply: str) -> None:
    """G42: once, and then for the whole session."""
    script = Script(mail=lambda line: reply if "SIZE=" in line else "250 ok")
    async with desk(tmp_path, script) as (running, server):
        numbers = [(await running.accept(message(ANN), f"{n}")).id for n in range(5)]
        async with running.working():
            for one in numbers:
                await running.until_state(one, MessageState.SENT)
        refused = [line for line in server.heard("MAIL") if "SIZE=" in line]
        assert len(refused) <= 2  # the first, and the one that went out with its end
        assert len(server.messages) == 5
        assert server.connections == 1


async def test_pipelining_that_does_not_work_is_given_up(tmp_path: Path) -> None:
    """G42: a message that was cut off once is sent step by step the next time."""
    clock = Later()
    waiting: list[str] = []

    def one_at_a_time(line: str) -> str:
        waiting.append(line)
        return SILENT if not server.heard("EHLO")[1:] else "250 ok"

    async with desk(tmp_path, Script(recipient=one_at_a_time), clock=clock) as (running, server):
        accepted = await running.accept(message(ANN), "key")
        async with running.working():
            await running.until(accepted.id, attempted)
            clock.by = timedelta(minutes=6)
            running.wake()
            await running.until_state(accepted.id, MessageState.SENT)
        assert len(server.messages) == 1
        assert [line for line in server.heard("MAIL") if "SIZE=" not in line]


async def test_letters_beyond_ascii_need_smtputf8(tmp_path: Path) -> None:
    async with desk(tmp_path) as (running, server):
        accepted = await running.accept(message("zoë@example.org"), "one")
        async with running.working():
            await running.until_state(accepted.id, MessageState.SENT)
            assert server.heard("MAIL")[0].endswith("> SMTPUTF8 BODY=8BITMIME")
            assert server.heard("RCPT") == ["RCPT TO:<zoë@example.org>"]
            assert "To: zoë@example.org\r\n".encode() in server.messages[0].raw
        server.script = Script(offers=("PIPELINING",))
        refused = await running.accept(message(("zoë@example.org", ANN)), "two")
        async with running.working():
            sent = await running.until_state(refused.id, MessageState.FAILED)
        assert "does not offer SMTPUTF8" in answers(sent)[0]
        server.script = Script(mail=lambda line: "555 no" if "SMTPUTF8" in line else "250 ok")
        refused = await running.accept(message("zoë@example.org"), "three")
        async with running.working():
            sent = await running.until_state(refused.id, MessageState.FAILED)
        assert len(server.messages) == 1


# smuggling


SMUGGLED = "MAIL FROM:<eve@example.org>\nRCPT TO:<bob@example.org>\nDATA\nFrom: eve\n\nboo\n"


@pytest.mark.parametrize(
    "end",
    ["\n.\n", "\r.\r", "\r\n.\r\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r\r\n.\r\r\n"],
)
async def test_no_text_ends_a_message_early(tmp_path: Path, end: str) -> None:
    """A32: every byte that the server was sent; one message, whatever it takes for an end."""
    text = f"before{end}{SMUGGLED}{end}.after\n..\n."
    for number, body in enumerate((text, text + "ü" * 2, text + "x" * 2_000)):
        async with desk(tmp_path / str(number)) as (running, server):
            accepted = await running.accept(message(ANN, text=body), "key")
            async with running.working():
                await running.until_state(accepted.id, MessageState.SENT)
            (content,) = server.contents
            assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")
            assert content.count(b"\r\n.\r\n") == 1
            assert not re.search(rb"[^\r\n]\n\.|\r[^\n]", content)
            (received,) = server.messages
            assert received.recipients == [ANN]
            assert len(received.raw) == accepted.size + (
                0 if received.raw[-2:] == b"\r\n" and len(received.raw) == accepted.size else 2
            )


# a session that is idle


async def test_a_quiet_session_is_kept_alive_and_then_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postfix takes a hundred NOOPs without a message for abuse."""
    monkeypatch.setattr(sending, "_QUIET_LIMIT", 3)
    async with desk(tmp_path, outbox={"keep_alive": 0.05}) as (running, server):
        async with asyncio.timeout(10):
            assert await running.work_once() == 0
        assert len(server.heard("NOOP")) == 3
        assert server.heard("QUIT")


@pytest.mark.parametrize("goodbye", [CUT, "421 4.4.2 idle for too long"])
async def test_a_server_that_closes_quiet_sessions_is_no_failure(
    tmp_path: Path, goodbye: str
) -> None:
    async with desk(tmp_path, Script(noop=goodbye), outbox={"keep_alive": 0.1}) as (running, _):
        async with asyncio.timeout(10):
            assert await running.work_once() == 0


@pytest.mark.parametrize("goodbye", [CUT, "421 4.4.2 idle for too long"])
async def test_a_message_on_a_session_that_was_closed_meanwhile_is_not_to_blame(
    tmp_path: Path, goodbye: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_QUIET_SECONDS", 0.1)
    async with desk(tmp_path, Script(mail=one_by_one(goodbye, "250 ok"))) as (running, server):
        async with running.working():
            await running.until_open()
            await asyncio.sleep(0.3)
            accepted = await running.accept(message(ANN), "key")
            sent = await running.until_state(accepted.id, MessageState.SENT)
        assert sent.recipients[0].attempts == 1
        assert server.connections == 2


@pytest.mark.parametrize("goodbye", [CUT, "421 4.7.0 enough for one session"])
async def test_a_server_that_takes_few_messages_a_session(tmp_path: Path, goodbye: str) -> None:
    """No message waits for that: the next session goes on with it."""
    replies = [*["250 ok"] * 5, goodbye] * 20
    async with desk(tmp_path, Script(mail=one_by_one(*replies))) as (running, server):
        numbers = [(await running.accept(message(ANN), f"{n}")).id for n in range(30)]
        async with running.working():
            found = [await running.until_state(one, MessageState.SENT) for one in numbers]
        assert {one.recipients[0].attempts for one in found} == {1}
        assert len(server.messages) == 30
        assert server.connections >= 6


async def test_a_lost_session_is_told_to_who_keeps_it(tmp_path: Path) -> None:
    async with desk(tmp_path, Script(mail=CUT)) as (running, _):
        await running.accept(message(ANN), "key")
        with pytest.raises(SessionError):
            await running.work_once()


# disconnecting


async def test_disconnected_while_it_waits_it_is_held(tmp_path: Path) -> None:
    """G40: accepted all the same, and sent once the gateway is connected again."""
    async with desk(tmp_path) as (running, server):
        await running.disconnect()
        accepted = await running.accept(message(ANN), "key")
        assert (accepted.state, accepted.next_attempt_at) == (MessageState.HELD, None)
        assert (await running.sent(accepted.id)).state is MessageState.HELD
        await running.rebuild()
        assert (await running.sent(accepted.id)).state is MessageState.QUEUED
        async with running.working():
            await running.until_state(accepted.id, MessageState.SENT)
        assert len(server.messages) == 1


async def test_stopped_at_any_moment_each_message_is_sent_once(tmp_path: Path) -> None:
    """G40, G35: what is under way is finished or taken back; nothing is lost or sent twice."""
    async with desk(tmp_path, outbox={"sessions": 3}) as (running, server):
        numbers: list[str] = []
        found: set[MessageState] = set()
        for rounds in range(60):
            if rounds < 6:  # however fast this machine is, each of the first stops has work to stop
                more = range(len(numbers), len(numbers) + 40)
                numbers += [(await running.accept(message(ANN), f"{n}")).id for n in more]
            async with running.working():
                await running.until_open()
                await asyncio.sleep(0.01 * (rounds % 8))
            found = {(await running.sent(one)).state for one in numbers}
            assert found <= {MessageState.QUEUED, MessageState.SENT}
            if rounds >= 6 and found == {MessageState.SENT}:
                break
        assert found == {MessageState.SENT}
        ids = [re.search(rb"Message-ID: (\S+)", one.raw) for one in server.messages]
        assert len({one[1] for one in ids if one}) == len(ids) == len(numbers)


async def test_stopped_while_the_server_thinks_the_answer_is_waited_for(tmp_path: Path) -> None:
    """G40: a few seconds, since it tells what nobody could tell otherwise."""
    slow = asyncio.Event()
    async with desk(tmp_path, Script(before_content=slow)) as (running, server):
        accepted = await running.accept(message(ANN), "key")
        async with running.working():
            await heard(lambda: bool(server.heard("DATA")))
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().call_later(0.3, slow.set)
        sent = await running.sent(accepted.id)
        assert (sent.state, len(server.messages)) == (MessageState.SENT, 1)


async def test_stopped_while_the_server_thinks_for_too_long(tmp_path: Path) -> None:
    script = Script(end=SILENT)
    deadlines = replace(HASTY, verdict=60)
    async with desk(tmp_path, script, outbox={"farewell": 0.3}, deadlines=deadlines) as (
        running,
        server,
    ):
        accepted = await running.accept(message(ANN), "key")
        async with running.working():
            await heard(lambda: bool(server.messages))
        assert (await running.sent(accepted.id)).state is MessageState.UNKNOWN


# time


async def test_it_is_tried_for_days_and_then_given_up(tmp_path: Path) -> None:
    """G6: with pauses that grow; the last word is the server's."""
    clock = Later()
    async with desk(tmp_path, Script(recipient="450 4.2.0 busy"), clock=clock) as (running, server):
        accepted = await running.accept(message(ANN), "key")
        pauses = []
        async with running.working():
            for attempt in range(1, 7):
                sent = await running.until(
                    accepted.id,
                    lambda one, n=attempt: one.recipients[0].attempts == n,  # type: ignore[misc]
                )
                assert sent.next_attempt_at
                due = datetime.fromisoformat(sent.next_attempt_at)
                pauses.append((due - clock()).total_seconds())
                clock.by += due - clock() + timedelta(seconds=1)
                running.wake()
        for pause, wanted in zip(pauses, [300, 600, 1200, 2400, 4000, 4000], strict=True):
            assert wanted * 0.79 < pause + 2 < wanted * 1.21 + 2
        await age(running.service)
        assert (await running.sent(accepted.id)).state is MessageState.QUEUED
        clock.by += timedelta(days=5)
        await age(running.service)
        sent = await running.sent(accepted.id)
        assert sent.state is MessageState.FAILED
        assert answers(sent) == ["not sent within 5 days: 450 4.2.0 busy"]
        assert server.messages == []
