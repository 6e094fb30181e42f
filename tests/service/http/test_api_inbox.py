"""Reading what came in over the API: pages, one message, its bytes, and nobody else's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.mailserver import MailServer
from demo.mailserver.state import Mailbox
from reconciler.model import EncryptionMode, ProtocolType
from reconciler.service.mail.receiving_settings import ReceivingSettings
from reconciler.service.mail.retention import drop_old
from reconciler.service.mail.works import WORKS
from reconciler.service.supervisor.supervisor import Supervisor
from tests.platforms.contract import USER
from tests.service.http.api import CANARY, Answer, Api, api, wish
from tests.service.mail.incoming import mail
from tests.service.running import LOOPBACK, Running, running

SETTINGS = replace(LOOPBACK, receiving=ReceivingSettings(poll_seconds=0.1, reserve_bytes=0))
PATH = "/v1/gateways/support/messages"


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer({USER: CANARY}) as found:
        yield found


@pytest.fixture
def mailbox(server: MailServer) -> Mailbox:
    return server.state.mailbox(USER)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(
        tmp_path, supervise=lambda service: Supervisor(service, WORKS), settings=SETTINGS
    ) as found:
        yield found


async def create(run: Running, server: MailServer, **fields: Any) -> Api:
    """A gateway that takes in everything; the result is who may read its messages."""
    given: dict[str, Any] = {
        "protocol_type": "IMAP",
        "host": "127.0.0.1",
        "port": server.port(ProtocolType.IMAP, EncryptionMode.NONE),
        "user_id": USER,
        "encryption_mode": "NONE",
        "certificate_file": None,
        "receive_from": "all",
        **fields,
    }
    answer = await (await api(run)).put("support", wish(**given), If_None_Match="*")
    assert answer.status == 201, answer.data
    return await api(run, "send")


async def until_count(reader: Api, count: int) -> Answer:
    async with asyncio.timeout(20):
        while len((found := await reader.get(PATH)).data["messages"]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_pages_go_on_where_the_last_one_ended(
    run: Running, server: MailServer, mailbox: Mailbox
) -> None:
    for number in range(5):
        mailbox.add(mail(number))
    reader = await create(run, server)
    everything = (await until_count(reader, 5)).data
    first = (await reader.get(f"{PATH}?limit=2")).data
    assert first["messages"] == everything["messages"][:2]
    assert [one["subject"] for one in first["messages"]] == ["Question 0", "Question 1"]
    rest = (await reader.get(f"{PATH}?after={first['cursor']}")).data
    assert rest["messages"] == everything["messages"][2:]
    end = (await reader.get(f"{PATH}?after={rest['cursor']}")).data
    assert end == {"messages": [], "cursor": rest["cursor"], "dropped": 0}
    mailbox.add(mail(5))
    await until_count(reader, 6)
    new = (await reader.get(f"{PATH}?after={end['cursor']}")).data
    assert [one["subject"] for one in new["messages"]] == ["Question 5"]


async def test_a_message_with_what_it_says(
    run: Running, server: MailServer, mailbox: Mailbox
) -> None:
    raw = mail(1, body="<b>hi</b>\r\n", Content_Type="text/html", X_Own="=?utf-8?q?=C3=BC?=")
    mailbox.add(raw)
    reader = await create(run, server)
    listed = (await until_count(reader, 1)).data["messages"][0]
    found = (await reader.get(f"{PATH}/{listed['id']}")).data
    assert {key: found[key] for key in listed} == listed
    assert (found["html"], found["text"], found["attachments"]) == ("<b>hi</b>\r\n", "", [])
    assert {"name": "X-Own", "value": "ü"} in found["headers"]
    assert found["from"] == "alice.b@example.com"


async def test_the_bytes_of_a_message(run: Running, server: MailServer, mailbox: Mailbox) -> None:
    raws = [mail(1, body="\0\xff\r\n.\r\n"), mail(2, body="x" * 700_000), b"no mail at all"]
    for raw in raws:
        mailbox.add(raw)
    reader = await create(run, server)
    for raw, one in zip(raws, (await until_count(reader, 3)).data["messages"], strict=True):
        answer = await reader.get(f"{PATH}/{one['id']}/raw")
        assert answer.body == raw
        assert answer.headers["Content-Type"] == "message/rfc822"
        assert answer.headers["Content-Length"] == str(len(raw))
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_what_was_left_on_the_server_has_no_bytes(
    server: MailServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    """G21: it is listed, and says why."""
    mailbox.add(mail(1, body="x" * 5_000))
    receiving = replace(SETTINGS.receiving, max_bytes=4_000)
    async with running(
        tmp_path,
        supervise=lambda service: Supervisor(service, WORKS),
        settings=replace(SETTINGS, receiving=receiving),
    ) as run:
        reader = await create(run, server)
        one = (await until_count(reader, 1)).data["messages"][0]
        assert one["defects"] == ["too large: left on the mail server"]
        shown = (await reader.get(f"{PATH}/{one['id']}")).data
        assert shown["defects"] == ["too large: left on the mail server", "left on the mail server"]
        assert (await reader.get(f"{PATH}/{one['id']}/raw")).status == 404


async def test_dropped_messages_are_counted(
    run: Running, server: MailServer, mailbox: Mailbox
) -> None:
    """Nothing is dropped silently: who comes late is told how many there were."""
    for number in range(3):
        mailbox.add(mail(number))
    reader = await create(run, server)
    await until_count(reader, 3)
    cursor = (await reader.get(f"{PATH}?limit=1")).data["cursor"]
    await run.site.service.write(
        lambda found: found.execute("UPDATE inbox SET received_at = '2000-01-01T00:00:00Z'")
    )
    assert await drop_old(run.site.service) == 3
    gone = (await reader.get(f"{PATH}?after={cursor}")).data
    assert gone == {"messages": [], "cursor": "3", "dropped": 2}
    mailbox.add(mail(3))
    await until_count(reader, 1)
    late = (await reader.get(f"{PATH}?after={cursor}")).data
    assert ([one["subject"] for one in late["messages"]], late["dropped"]) == (["Question 3"], 2)
    fresh = (await reader.get(PATH)).data
    assert (len(fresh["messages"]), fresh["dropped"]) == (1, 0)


async def test_who_may_read(run: Running, server: MailServer, mailbox: Mailbox) -> None:
    """A35: a message is its tenant's, and its gateway's."""
    mailbox.add(mail(1))
    reader = await create(run, server)
    one = (await until_count(reader, 1)).data["messages"][0]["id"]
    other = await api(run, "send", tenant="other")
    for path in (PATH, f"{PATH}/{one}", f"{PATH}/{one}/raw"):
        assert (await other.get(path)).status == 404
        for role in ("read", "operate", "apply"):
            assert (await (await api(run, role)).get(path)).status == 403
    for path in ("/v1/gateways/absent/messages", f"{PATH}/none", f"{PATH}/none/raw"):
        assert (await reader.get(path)).status == 404
    second = await (await api(run)).put(
        "second", wish("second", host="127.0.0.1", port=1), If_None_Match="*"
    )
    assert second.status == 201
    assert (await reader.get(f"/v1/gateways/second/messages/{one}")).status == 404


@pytest.mark.parametrize(
    "query", ["after=x", "after=-1", "after=1.5", "after=" + "9" * 30, "limit=0", "limit=1001"]
)
async def test_parameters_that_are_none(run: Running, server: MailServer, query: str) -> None:
    reader = await create(run, server)
    answer = await reader.get(f"{PATH}?{query}")
    assert (answer.status, answer.slug) == (400, "invalid")


async def test_a_gateway_that_sends_receives_nothing(run: Running, server: MailServer) -> None:
    reader = await create(
        run, server, protocol_type="SMTP", default_email_address=USER, receive_from="now"
    )
    answer = await reader.get(PATH)
    assert (answer.status, answer.slug) == (409, "blocked")


async def test_a_cursor_from_elsewhere_is_no_error(run: Running, server: MailServer) -> None:
    reader = await create(run, server)
    assert (await reader.get(f"{PATH}?after=99")).data == {
        "messages": [],
        "cursor": "99",
        "dropped": 0,
    }
