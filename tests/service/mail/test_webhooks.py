"""Announcing received messages: at least once, in order, and nobody holds anybody up."""

import asyncio
import base64
import hashlib
import hmac
import ssl
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from aiohttp import web

from demo.mailserver import MailServer
from reconciler.clock import exact
from reconciler.model import ProtocolType, Secret
from reconciler.service.feed import About
from reconciler.service.http.contract import errors
from reconciler.service.mail.webhook_limits import Patience, Rooms
from reconciler.service.mail.webhook_target import Caller
from reconciler.service.mail.webhooks import run
from reconciler.service.service import Service
from tests.platforms.contract import PASSWORD, USER, on, until
from tests.service.mail.incoming import TENANT, desk, mail
from tests.service.mail.targets import (
    HASTY,
    LOOPBACK,
    SECONDS,
    Post,
    Told,
    announcing,
    eventually,
    fine,
    target,
)


def signature(told: Told, secret: Secret) -> str:
    """As the format says, computed apart from our own code."""
    key = base64.b64decode(secret.reveal().split("_")[1])
    head = f"{told.id}.{told.headers['webhook-timestamp']}.".encode()
    return (
        "v1," + base64.b64encode(hmac.new(key, head + told.body, hashlib.sha256).digest()).decode()
    )


async def test_a_message_is_announced_signed_and_without_its_body(tmp_path: Path) -> None:
    async with target() as receiver, announcing(tmp_path) as post:
        _, secret = await post.register(receiver.url)
        await post.arrive("Invoice 7")
        (told,) = await receiver.until(1)
        await post.settled()
    assert told.headers["webhook-signature"] == signature(told, secret)
    assert abs(int(told.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    assert told.headers["content-type"] == "application/json"
    data = told.event["data"]
    message = data["id"]
    assert told.id == f"msg_{message}"
    assert errors("Announcement", told.event) == []
    assert told.event["type"] == "message.received"
    assert told.event["timestamp"] == data["received"]
    assert data == {
        "id": message,
        "gateway": "support",
        "from": "a@example.org",
        "to": ["b@example.com"],
        "subject": "Invoice 7",
        "received": data["received"],
        "size": 9,
        "message_id": "",
        "in_reply_to": "",
        "defects": [],
        "resync": False,
        "links": {
            "message": f"/v1/gateways/support/messages/{message}",
            "raw": f"/v1/gateways/support/messages/{message}/raw",
        },
    }


async def test_only_who_asked_is_told(tmp_path: Path) -> None:
    async with (
        target() as one,
        target() as every,
        target() as other,
        announcing(tmp_path) as post,
    ):
        await post.register(one.url, "support")
        await post.register(every.url)
        await post.register(other.url, tenant="another")
        await post.arrive("a", gateway="sales")
        await post.arrive("b", gateway="support")
        await post.arrive("c", tenant="another")
        await post.settled()
    assert one.subjects == ["b"]
    assert sorted(every.subjects) == ["a", "b"]
    assert other.subjects == ["c"]


async def test_what_came_while_nobody_announced_is_announced_later(tmp_path: Path) -> None:
    async with target() as receiver:
        async with announcing(tmp_path) as post:
            await post.register(receiver.url)
        async with announcing(tmp_path) as post:
            await post.arrive("first", "second")
            await post.settled()
    assert receiver.subjects == ["first", "second"]


async def test_one_gateway_in_order_and_several_at_once(tmp_path: Path) -> None:
    meeting = asyncio.Barrier(3)

    async def together(told: Told) -> int:
        if told.subject == "0":
            async with asyncio.timeout(SECONDS):
                await meeting.wait()
        return 200

    gateways = ("a", "b", "c")
    subjects = [str(number) for number in range(20)]
    async with target(together) as receiver, announcing(tmp_path) as post:
        await post.register(receiver.url)
        for subject in subjects:
            for gateway in gateways:
                await post.arrive(subject, gateway=gateway)
        await post.settled()
    for gateway in gateways:
        mine = [one.subject for one in receiver.told if one.event["data"]["gateway"] == gateway]
        assert mine == subjects
    assert receiver.most_at_once == 3


async def test_a_failure_is_repeated_as_the_same_event_and_keeps_the_order(tmp_path: Path) -> None:
    answers = iter([503, 200, 200])

    async def once_busy(_: Told) -> int:
        return next(answers)

    async with target(once_busy) as receiver, announcing(tmp_path) as post:
        await post.register(receiver.url)
        await post.arrive("first", "second")
        await post.settled()
    first, again, second = receiver.told
    assert (first.subject, again.subject, second.subject) == ("first", "first", "second")
    assert (first.id, first.body) == (again.id, again.body)


async def test_what_a_target_never_takes_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    async def poisoned(told: Told) -> int:
        return 500 if told.subject == "poison" else 200

    async with target(poisoned) as receiver, announcing(tmp_path) as post:
        await post.register(receiver.url)
        await post.arrive("poison", "1", "2", "3")
        await receiver.until(9)
        rows = await post.rows("state, answer")
    assert [one for one in receiver.subjects if one != "poison"] == ["1", "2", "3"]
    assert rows == [("waiting", "answered 500")]


async def test_many_that_a_target_never_takes_do_not_keep_each_other_alive(tmp_path: Path) -> None:
    """What failed in an outage is sent at once afterwards; but these make one of their own."""

    async def poisoned(told: Told) -> int:
        return 500 if told.subject.startswith("poison") else 200

    patience = Patience((0.01, 0.01, 0.01, 3_600), first=0.01, last=0.02)
    async with target(poisoned) as receiver, announcing(tmp_path, patience=patience) as post:
        await post.register(receiver.url)
        for number in range(10):
            await post.arrive(f"poison {number}", f"{number}")

        async def all_fine_told() -> bool | None:
            return set(receiver.subjects) >= {str(number) for number in range(10)} or None

        await eventually(all_fine_told)
    most = max(receiver.subjects.count(f"poison {number}") for number in range(10))
    assert most <= 5


async def test_after_an_outage_all_is_told_at_once(tmp_path: Path) -> None:
    works = asyncio.Event()

    async def down(_: Told) -> int:
        return 200 if works.is_set() else 502

    # an announcement that failed thrice would be put off for an hour
    patience = Patience((0.02, 0.02, 3_600), first=0.02, last=0.05)
    async with target(down) as receiver, announcing(tmp_path, patience=patience) as post:
        webhook, _ = await post.register(receiver.url)
        await post.arrive("1", "2", "3", "4")
        await receiver.until(8)
        seen = await post.webhook(webhook)
        works.set()
        await post.settled()
        after = await post.webhook(webhook)
    assert seen
    assert seen.failures >= 7
    assert (bool(seen.failing_since), seen.answer) == (True, "answered 502")
    assert after == webhook
    assert sorted({*receiver.subjects}) == ["1", "2", "3", "4"]


class Hours:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 22, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


async def test_a_target_that_is_down_for_days(tmp_path: Path) -> None:
    """G34: nothing is dropped, attempts get rarer, and after days an event is given up visibly."""
    clock = Hours()
    start = clock.at
    attempts: list[float] = []

    async def down(_: Told) -> int:
        attempts.append((clock.at - start).total_seconds())
        return 503

    async with (
        target(down) as receiver,
        announcing(tmp_path, patience=Patience(), clock=clock) as post,
    ):
        webhook, _ = await post.register(receiver.url)
        await post.arrive("the only one")
        while (rows := await post.rows("state, attempts, next_attempt_at"))[0][0] == "waiting":
            done = rows[0][1]
            seen = await post.webhook(webhook)
            assert seen
            due = max(rows[0][2], seen.opens_at)
            clock.at = datetime.fromisoformat(due) if due else clock.at
            post.service.feed.tell(About.WEBHOOK, "acme", "")

            async def tried(done: int = done) -> bool | None:
                return (await post.rows("attempts"))[0][0] != done or None

            await eventually(tried)
        given_up = await post.rows("state, answer")

        async def counted() -> bool | None:
            return post.service.metrics.given_up._value.get() == 1 or None

        await eventually(counted)
    waits = [after - before for before, after in pairwise(attempts)]
    assert waits[0] < 10
    assert 0.8 * 6 * 3_600 <= waits[-1] <= 1.2 * 6 * 3_600
    assert max(waits) <= 1.2 * 6 * 3_600
    assert 5 * 24 * 3_600 <= attempts[-1] <= 5.4 * 24 * 3_600
    assert given_up == [("given up", "answered 503")]


async def test_gone_disables(tmp_path: Path) -> None:
    """G34."""

    async def gone(_: Told) -> int:
        return 410

    async with target(gone) as receiver, announcing(tmp_path) as post:
        webhook, _ = await post.register(receiver.url)
        await post.arrive("1")
        await receiver.until(1)
        seen = await post.failing(webhook)
        await post.arrive("2")
        rows = await post.rows("attempts, state")
        assert len(receiver.told) == 1
        assert rows == [(0, "waiting")]
        assert seen.answer == "answered 410"

        receiver.answering = fine
        await post.service.write(
            lambda connection: post._webhooks(connection, "acme").retry(seen, None)
        )
        post.service.feed.tell(About.WEBHOOK, "acme", "")
        await post.settled()
        await post.arrive("3")
        await post.settled()
    # what came while it was disabled is not announced
    assert receiver.subjects == ["1", "1", "3"]


async def test_a_redirect_is_never_followed(tmp_path: Path) -> None:
    """G34."""
    async with target() as elsewhere:

        async def moved(_: Told) -> web.Response:
            return web.Response(status=307, headers={"Location": elsewhere.url})

        async with target(moved) as receiver, announcing(tmp_path) as post:
            await post.register(receiver.url)
            await post.arrive("1")
            await receiver.until(2)
            rows = await post.rows("answer")
    assert rows == [("answered 307: a redirect is never followed",)]
    assert elsewhere.told == []


async def test_asked_to_wait_it_waits(tmp_path: Path) -> None:
    async def later(_: Told) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    async with target(later) as receiver, announcing(tmp_path, patience=Patience()) as post:
        webhook, _ = await post.register(receiver.url)
        before = exact(datetime.now(UTC) + timedelta(minutes=59))
        await post.arrive("1")
        await receiver.until(1)
        seen = await post.failing(webhook)
        ((again,),) = await post.rows("next_attempt_at")
    assert seen.opens_at > before
    assert again > before


async def test_slow_targets_hold_nobody_up(tmp_path: Path) -> None:
    """G34: targets that failed and then never answer take no place from one that does."""
    stuck = asyncio.Event()

    async def stuck_later(told: Told) -> int:
        if told.headers["host"] not in known:
            known.add(told.headers["host"])
            return 500
        await stuck.wait()
        return 200

    known: set[str] = set()
    # loopback has many addresses, and each is a host of its own
    hosts = [f"127.0.1.{number}" for number in range(1, 11)]
    caller = Caller(ssl.create_default_context(), private_hosts=True, seconds=4 * SECONDS)
    rooms = Rooms(asyncio.Semaphore(4), asyncio.Semaphore(4))
    async with (
        target(stuck_later, hosts=hosts) as slow,
        target() as quick,
        announcing(tmp_path, caller=caller, rooms=rooms) as post,
    ):
        for url in slow.urls:
            await post.register(url, "slow")
        await post.register(quick.url, "quick")
        await post.arrive("1", "2", gateway="slow")
        await slow.until(len(hosts) + 4)
        await post.arrive(*(str(number) for number in range(30)), gateway="quick")
        await quick.until(30)
        assert len(slow.told) == len(hosts) + 4
        stuck.set()


async def test_one_host_is_not_stormed(tmp_path: Path) -> None:
    async def slowly(_: Told) -> int:
        await asyncio.sleep(0.02)
        return 200

    async with target(slowly) as receiver, announcing(tmp_path, patience=HASTY) as post:
        for _ in range(5):
            await post.register(receiver.url)
        for gateway in range(12):
            await post.arrive("x", gateway=f"g{gateway}")
        await post.settled()
    assert len(receiver.told) == 60
    assert 1 < receiver.most_at_once <= 8


async def test_what_a_removed_webhook_was_to_be_told_is_cleared_away(tmp_path: Path) -> None:
    """Also by the next process, if this one did not come to it."""

    async def busy(_: Told) -> int:
        return 503

    async with target(busy) as receiver, target() as other:
        async with announcing(tmp_path, patience=Patience()) as post:
            webhook, _ = await post.register(receiver.url)
            await post.arrive(*(str(number) for number in range(50)))
            await receiver.until(1)
            await post.service.write(
                lambda connection: post._webhooks(connection, "acme").remove(webhook)
            )
            post.service.feed.tell(About.WEBHOOK, "acme", "")
            await post.settled()
            left, _ = await post.register(receiver.url)
            await post.arrive("left")
        async with Service(tmp_path / "platform.db", LOOPBACK, environment={}) as service:
            await service.write(
                lambda connection: Post(service)._webhooks(connection, "acme").remove(left)
            )
        async with announcing(tmp_path) as post:
            await post.register(other.url)
            await post.arrive("new")
            await post.settled()
    assert other.subjects == ["new"]


async def test_from_the_mail_server_to_the_target(tmp_path: Path) -> None:
    """Nothing between is made up: a mailbox, a session, an inbox, a request."""
    async with MailServer({USER: PASSWORD}) as server, target() as receiver:
        gateway = on(server, protocol_type=ProtocolType.IMAP)
        async with desk(tmp_path, gateway, Secret(PASSWORD)) as found:
            telling = asyncio.create_task(run(found.service, patience=HASTY))
            await Post(found.service).register(receiver.url, found.gateway.name, TENANT)
            mailbox = server.state.mailbox(USER)
            async with found.working():
                await until(lambda: bool(mailbox.watchers))
                mailbox.add(mail(7))
                (told,) = await receiver.until(1)
            (message,) = await found.messages()
            telling.cancel()
            await asyncio.wait([telling])
    data = told.event["data"]
    assert (data["id"], data["subject"], data["from"]) == (
        message.id,
        "Question 7",
        "alice.b@example.com",
    )
