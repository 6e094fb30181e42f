"""Accepting messages, what is kept of them, and what a person may decide about them."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.clock import now
from reconciler.errors import Blocked, KeyReused, NotThere, UnfitMessage
from reconciler.messages import Attachment, MessageState
from reconciler.model import Cause, EncryptionMode, Gateway, ProtocolType, Secret
from reconciler.service.mail.accept import QueueFull, accept
from reconciler.service.mail.aging import age
from reconciler.service.mail.outbox import PIECE, Outbox
from reconciler.service.mail.queue import Queue
from reconciler.service.mail.settings import OutboxSettings
from reconciler.service.store import Store
from tests.service.mail.outgoing import NAME, TENANT, Office, message, office

GATEWAY = Gateway(
    NAME,
    ProtocolType.SMTP,
    "mail.example.com",
    25,
    user_id="support",
    default_email_address="support@example.com",
    default_user_name="Support",
    encryption_mode=EncryptionMode.NONE,
)


class Clock:
    def __init__(self) -> None:
        self.by = timedelta()

    def __call__(self) -> datetime:
        return now() + self.by


@asynccontextmanager
async def desk(folder: Path, gateway: Gateway = GATEWAY, **fields: Any) -> AsyncIterator[Office]:
    outbox = OutboxSettings(**fields.pop("outbox", {}))
    async with office(folder, gateway, Secret("pw"), outbox=outbox, **fields) as found:
        yield found


async def listed(desk: Office, state: str | None = None, after: str = "", limit: int = 100) -> Any:
    wanted = MessageState(state) if state else None
    return await desk.service.look(
        lambda connection: Outbox(connection, TENANT).listed(
            NAME, state=wanted, after=after, limit=limit
        )
    )


async def kept(desk: Office) -> tuple[int, int]:
    """Messages and bytes that count as waiting, which must be what is there."""

    def job(connection: sqlite3.Connection) -> tuple[int, int]:
        queued = connection.execute("SELECT messages, bytes FROM outbox_queues").fetchone() or (
            0,
            0,
        )
        there = connection.execute(
            "SELECT count(DISTINCT message), coalesce(sum(length(bytes)), 0) FROM outbox_content"
        ).fetchone()
        assert queued == there
        return queued[0], queued[1]

    return await desk.service.look(job)


async def set_states(desk: Office, message_id: str, *states: str) -> None:
    """As an attempt would leave the recipients; a message that is settled is let go of."""

    def job(connection: sqlite3.Connection) -> None:
        queue = Queue(connection, TENANT, NAME)
        waiting = queue.find(message_id)
        assert waiting
        recipients = [
            replace(one, state=type(one.state)(state), attempts=1)
            for one, state in zip(waiting.recipients, states, strict=True)
        ]
        moment = "2026-11-22T12:00:00Z"
        assert queue.record(waiting, recipients, now=moment, due=moment)

    await desk.service.write(job)


# accepting


async def test_accepted_means_on_disk(tmp_path: Path) -> None:
    """Another process sees it at once, as it will be after a crash."""
    async with desk(tmp_path) as running:
        sent = await running.accept(message(("ann@example.org", "bob@example.org")), "key")
        with closing(sqlite3.connect(tmp_path / "platform.db")) as other:
            (content,) = other.execute("SELECT bytes FROM outbox_content").fetchone()
            assert other.execute("SELECT id, state FROM outbox").fetchone() == (sent.id, "queued")
        assert len(content) == sent.size
        assert sent.message_id.encode() in content
        assert sent == await running.sent(sent.id)
        assert (sent.gateway, sent.state) == (NAME, MessageState.QUEUED)
        assert [one.address for one in sent.recipients] == ["ann@example.org", "bob@example.org"]


async def test_the_same_key_is_the_same_message(tmp_path: Path) -> None:
    async with desk(tmp_path) as running:
        first = await running.accept(message(), "key")
        again = await asyncio.gather(*(running.accept(message(), "key") for _ in range(20)))
        assert set(again) == {first}
        assert await running.accept(message(), "another") != first
        await set_states(running, first.id, "sent")
        assert (await running.accept(message(), "key")).state is MessageState.SENT
        assert len(await listed(running)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"to": ("bob@example.org",)},
        {"text": "other"},
        {"subject": "other"},
        {"html": ""},
        {"bcc": ("eve@example.org",)},
        {"attachments": (Attachment("a", "text/plain", b"b"),)},
        {"in_reply_to": "<1@x>"},
    ],
)
async def test_a_key_of_another_message_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """A34: also for a long message, which is made elsewhere."""
    async with desk(tmp_path) as running:
        for text in ("short", "long" * 50_000):
            asked = message(text=text)
            first = await running.accept(asked, text[:5])
            with pytest.raises(KeyReused):
                await running.accept(replace(asked, **change), text[:5])
            assert await running.accept(asked, text[:5]) == first
        with pytest.raises(KeyReused):
            await running.accept(
                message(attachments=(Attachment("a", "text/plain", b"c"),)), "short"
            )


async def test_a_repeated_message_is_answered_whatever_became_of_its_gateway(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as running:
        long = message(text="long" * 50_000)
        first = [await running.accept(one, one.text[:5]) for one in (message(), long)]
        await running.disconnect(Cause.UNDECLARED)
        again = [await running.accept(one, one.text[:5]) for one in (message(), long)]
        assert [one.id for one in again] == [one.id for one in first]


async def test_keys_of_tenants_and_gateways_are_apart(tmp_path: Path) -> None:
    """A34, A35: and what one tenant has, no other finds by its id."""
    async with desk(tmp_path) as running:
        other = replace(running, gateway=replace(GATEWAY, name="second"))
        await other.create(key="second")
        first = await running.accept(message(), "key")
        second = await accept(running.service, TENANT, "second", message(), "key")
        assert first.id != second.id
        with pytest.raises(NotThere):
            await accept(running.service, "rivals", NAME, message(), "key")
        for tenant, name in (("rivals", NAME), (TENANT, "second")):
            assert (
                await running.service.look(
                    lambda connection, tenant=tenant, name=name: Outbox(  # type: ignore[misc]
                        connection, tenant
                    ).find(name, first.id)
                )
                is None
            )


@pytest.mark.parametrize(
    ("gateway", "words"),
    [
        (replace(GATEWAY, protocol_type=ProtocolType.IMAP), "receives mail over IMAP"),
        (replace(GATEWAY, default_email_address=None), "no address to send from"),
    ],
)
async def test_a_gateway_that_cannot_send(tmp_path: Path, gateway: Gateway, words: str) -> None:
    async with desk(tmp_path, gateway) as running:
        with pytest.raises(Blocked, match=words):
            await running.accept(message(), "key")
        with pytest.raises(Blocked, match=words):
            await running.accept(message(text="x" * 100_000), "key")


async def test_an_undeclared_gateway_sends_no_more_and_any_other_holds(tmp_path: Path) -> None:
    """G40: it says so in the answer."""
    for cause in Cause:
        async with desk(tmp_path / cause) as running:
            await running.disconnect(cause)
            if cause is Cause.UNDECLARED:
                with pytest.raises(Blocked, match="no longer declared"):
                    await running.accept(message(), "key")
            else:
                held = await running.accept(message(), "key")
                assert (held.state, held.next_attempt_at) == (MessageState.HELD, None)
                assert await running.sent(held.id) == held


async def test_no_gateway(tmp_path: Path) -> None:
    async with desk(tmp_path) as running:
        with pytest.raises(NotThere):
            await accept(running.service, TENANT, "nobody", message(), "key")


async def test_what_is_unfit_is_not_stored(tmp_path: Path) -> None:
    async with desk(tmp_path) as running:
        for wrong in (message("no address"), message(text="\ud800"), message(text="\0" * 100_000)):
            with pytest.raises(UnfitMessage):
                await running.accept(wrong, "key")
        assert await listed(running) == ()
        assert await kept(running) == (0, 0)
        await running.accept(message(), "key")  # the key was not used up


async def test_a_full_queue_takes_no_more_until_there_is_room(tmp_path: Path) -> None:
    async with desk(tmp_path, outbox={"queue_messages": 3}) as running:
        ids = [(await running.accept(message(), f"{n}")).id for n in range(3)]
        before = await kept(running)
        with pytest.raises(QueueFull) as caught:
            await running.accept(message(), "one more")
        assert not caught.value.for_space
        assert await kept(running) == before
        assert await running.accept(message(), "0")  # what is there already is answered
        await set_states(running, ids[0], "failed")
        await running.accept(message(), "one more")
    async with desk(tmp_path / "b", outbox={"queue_bytes": 5_000}) as running:
        with pytest.raises(QueueFull) as caught:
            await running.accept(message(text="x\n" * 4_000), "key")
        assert caught.value.for_space
        assert await kept(running) == (0, 0)
        await running.accept(message(), "key")


async def test_a_large_message_is_kept_in_pieces_of_whole_lines(tmp_path: Path) -> None:
    async with desk(tmp_path) as running:
        file = Attachment("a.bin", "application/octet-stream", bytes(range(256)) * 8_000)
        sent = await running.accept(message(attachments=(file,)), "key")

        def pieces(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute("SELECT bytes FROM outbox_content ORDER BY part")
            return [row[0] for row in rows]

        found = await running.service.look(pieces)
        assert len(found) > 5
        assert all(len(one) <= PIECE and one.endswith(b"\r\n") for one in found)
        assert len(b"".join(found)) == sent.size


# what is listed


async def test_a_list_in_pages_and_by_state(tmp_path: Path) -> None:
    async with desk(tmp_path) as running:
        ids = [
            (await running.accept(message(("ann@x.example", "bob@x.example")), f"{n}")).id
            for n in range(6)
        ]
        wanted = {
            ids[1]: ("sent", "sent"),
            ids[2]: ("sent", "failed"),
            ids[3]: ("failed", "failed"),
            ids[4]: ("sent", "unknown"),
            ids[5]: ("unknown", "queued"),
        }
        for one, states in wanted.items():
            await set_states(running, one, *states)
        by_state = {
            state.value: [one.id for one in await listed(running, state)] for state in MessageState
        }
        assert by_state == {
            "queued": [ids[0], ids[5]],
            "held": [],
            "sent": [ids[1]],
            "partly sent": [ids[2]],
            "failed": [ids[3]],
            "unknown": [ids[4]],
        }
        await running.disconnect()
        assert [one.id for one in await listed(running, "held")] == [ids[0], ids[5]]
        assert await listed(running, "queued") == ()
        found: list[str] = []
        while page := await listed(running, after=found[-1] if found else "", limit=4):
            found += [one.id for one in page]
        assert found == ids
        assert await listed(running, after="nothing known") == await listed(running)


async def test_only_what_may_still_be_needed_is_kept(tmp_path: Path) -> None:
    """The content goes once no recipient waits and none is in doubt."""
    async with desk(tmp_path) as running:
        one = await running.accept(message(("ann@x.example", "bob@x.example")), "key")
        for states, left in (
            (("sent", "queued"), 1),
            (("sent", "unknown"), 1),
            (("sent", "queued"), 1),
            (("sent", "sent"), 0),
        ):
            await set_states(running, one.id, *states)
            assert (await kept(running))[0] == left


async def test_settled_messages_are_forgotten_after_a_month(tmp_path: Path) -> None:
    clock = Clock()
    async with desk(tmp_path, clock=clock) as running:
        waiting, sent, doubtful = [(await running.accept(message(), f"{n}")).id for n in range(3)]
        await set_states(running, sent, "sent")
        await set_states(running, doubtful, "unknown")
        await running.disconnect()
        clock.by = timedelta(days=29) - (now() - datetime.fromisoformat("2026-11-22T12:00:00Z"))
        await age(running.service)
        assert {one.id for one in await listed(running)} == {waiting, sent, doubtful}
        # what was held for too long has been given up by now
        assert (await running.sent(waiting)).state is MessageState.FAILED
        clock.by += timedelta(days=2)
        await age(running.service)
        assert [one.id for one in await listed(running)] == [waiting]
        assert await kept(running) == (0, 0)
        clock.by += timedelta(days=30)
        await age(running.service)
        assert await listed(running) == ()


# decisions


async def test_what_is_in_doubt_can_be_sent_again(tmp_path: Path) -> None:
    """G4: to those in doubt, and once."""
    async with desk(tmp_path) as running:
        one = await running.accept(message(("ann@x.example", "bob@x.example")), "key")
        await set_states(running, one.id, "sent", "unknown")
        again = await running.resend(one.id)
        assert [r.state.value for r in again.recipients] == ["sent", "queued"]
        assert again.next_attempt_at
        assert again.expires_at >= one.expires_at if one.expires_at and again.expires_at else False
        assert await running.resend(one.id) == again
        assert await audited(running) == ["create", "message resend"]


@pytest.mark.parametrize("states", [("sent", "sent"), ("sent", "failed"), ("failed", "failed")])
async def test_what_is_known_is_not_sent_again(tmp_path: Path, states: tuple[str, str]) -> None:
    async with desk(tmp_path) as running:
        one = await running.accept(message(("ann@x.example", "bob@x.example")), "key")
        await set_states(running, one.id, *states)
        with pytest.raises(Blocked, match="what became of it is known"):
            await running.resend(one.id)
        before = await running.sent(one.id)
        assert await running.give_up(one.id) == before
        assert await audited(running) == ["create"]


async def test_what_waits_or_is_in_doubt_can_be_given_up(tmp_path: Path) -> None:
    async with desk(tmp_path) as running:
        one = await running.accept(message(("a@x.example", "b@x.example", "c@x.example")), "key")
        await set_states(running, one.id, "sent", "unknown", "queued")
        given_up = await running.give_up(one.id)
        assert given_up.state is MessageState.PARTLY_SENT
        assert [r.state.value for r in given_up.recipients] == ["sent", "failed", "failed"]
        assert given_up.recipients[2].answer == "given up by request"
        assert await kept(running) == (0, 0)
        assert await running.give_up(one.id) == given_up
        assert await audited(running) == ["create", "message give up"]


async def test_nothing_is_decided_while_an_attempt_is_under_way(tmp_path: Path) -> None:
    async with desk(tmp_path) as running:
        one = await running.accept(message(), "key")
        await running.service.write(
            lambda connection: Queue(connection, TENANT, NAME).claim(
                running.service.epoch, "9999", 10
            )
        )
        for decide in (running.resend, running.give_up):
            with pytest.raises(Blocked, match="at this moment"):
                await decide(one.id)
            with pytest.raises(NotThere):
                await decide("0" * 32)


async def audited(running: Office) -> list[str]:
    entries = await running.service.look(lambda connection: Store(connection, TENANT).audit())
    return [entry.action for entry in entries]


# the queue


async def test_one_message_is_claimed_by_one_process(tmp_path: Path) -> None:
    """G30: what an earlier owner still writes about it changes nothing."""
    async with desk(tmp_path) as running:
        await running.accept(message(), "key")
        service = running.service

        async def claim(epoch: int) -> Any:
            return await service.write(
                lambda connection: Queue(connection, TENANT, NAME).claim(epoch, "9999", 10)
            )

        (claimed,) = await claim(service.epoch)
        assert await claim(service.epoch) == ()

        def late(connection: sqlite3.Connection) -> bool:
            stale = replace(claimed.waiting, owner=service.epoch - 1)
            queue = Queue(connection, TENANT, NAME)
            queue.put_back(stale, "2026")
            return queue.record(stale, claimed.waiting.recipients, now="2026", due="2026")

        assert not await service.write(late)
        assert await claim(service.epoch) == ()


async def test_the_index_is_used_however_many_messages_there_are(tmp_path: Path) -> None:
    """What is asked at each turn reads no table."""
    async with desk(tmp_path) as running:
        await running.accept(message(), "key")
        seen: list[str] = []

        def watched(connection: sqlite3.Connection, job: Callable[[], object]) -> None:
            statements: list[str] = []
            connection.set_trace_callback(statements.append)
            try:
                job()
            finally:
                connection.set_trace_callback(None)
            for statement in statements:
                if re.match("SELECT|UPDATE|DELETE", statement):
                    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                    seen.extend(row[3] for row in plan)

        def job(connection: sqlite3.Connection) -> None:
            queue, outbox = Queue(connection, TENANT, NAME), Outbox(connection, TENANT)
            watched(connection, queue.next_due)
            watched(connection, lambda: queue.claim(1, "9999", 8))
            watched(connection, lambda: queue.under_way(1))
            watched(connection, lambda: queue.expired("2026", 8))
            watched(connection, lambda: outbox.request_of("x"))
            watched(connection, lambda: outbox.find(NAME, "x"))

        await running.service.write(job)
        assert seen
        assert not [step for step in seen if step.startswith("SCAN")]
