"""Sending and receiving through a service elsewhere, over a network that fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.mailserver import MailServer
from reconciler.errors import Blocked, InvalidInput, NotThere, PlatformUnavailable
from reconciler.messages import (
    Attachment,
    InboxPage,
    MessageKind,
    MessageState,
    OutgoingMessage,
    SentMessage,
)
from reconciler.model import ProtocolType, ReceiveFrom
from reconciler.platforms.http import HttpPlatform
from reconciler.platforms.http_access import Access
from reconciler.platforms.http_mail import HttpMail
from reconciler.service.mail.works import WORKS
from reconciler.service.supervisor.supervisor import Supervisor
from tests.platforms.contract import USER, connected, on, server, wanted
from tests.platforms.fault_proxy import DROP_REPLY, Fault, FaultProxy, each, fault_proxy, reply
from tests.platforms.test_http import QUICK
from tests.service.running import running

__all__ = ["server"]  # a fixture is found by its name in this module

OUT, IN = "support-out", "support-in"


@dataclass
class Post:
    """Mail through a proxy, and the gateways that it goes through."""

    mail: HttpMail
    proxy: FaultProxy
    gateways: HttpPlatform


@pytest.fixture
async def post(tmp_path: Path, server: MailServer) -> AsyncIterator[Post]:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            running(tmp_path, supervise=lambda service: Supervisor(service, WORKS))
        )
        proxy = await stack.enter_async_context(fault_proxy(int(service.url.rpartition(":")[2])))
        apply = await service.token("apply", origin=None)
        send = await service.token("send", origin=None)
        gateways = HttpPlatform(Access(service.url, apply, "acme"), "ours")
        mail = HttpMail(Access(f"http://127.0.0.1:{proxy.port}", send, "acme"), patience=QUICK)
        stack.push_async_callback(gateways.close)
        stack.push_async_callback(mail.close)
        await connected(gateways, wanted(on(server, OUT, default_user_name="Support")))
        receiving = on(server, IN, protocol_type=ProtocolType.IMAP, receive_from=ReceiveFrom.ALL)
        await connected(gateways, wanted(receiving))
        yield Post(mail, proxy, gateways)


def message(text: str = "Hello.\n", **fields: object) -> OutgoingMessage:
    return OutgoingMessage(MessageKind.AGENT, (USER,), "Ünïcode", text, **fields)  # type: ignore[arg-type]


async def until_sent(mail: HttpMail, message_id: str) -> SentMessage:
    async with asyncio.timeout(20):
        while True:
            found = await mail.sent(OUT, message_id)
            if found.state is not MessageState.QUEUED:
                return found
            await asyncio.sleep(0.02)


async def until_received(mail: HttpMail) -> InboxPage:
    async with asyncio.timeout(20):
        while True:
            page = await mail.inbox(IN)
            if page.messages:
                return page
            await asyncio.sleep(0.02)


async def test_from_a_sending_to_a_receiving_gateway(post: Post) -> None:
    attached = Attachment("data.bin", "application/octet-stream", bytes(range(256)) * 4_000)
    accepted = await post.mail.send(OUT, message(attachments=(attached,)), key="one")
    assert accepted.gateway == OUT
    assert accepted.recipients[0].address == USER
    assert (await until_sent(post.mail, accepted.id)).state is MessageState.SENT
    page = await until_received(post.mail)
    (arrived,) = page.messages
    assert (arrived.sender, arrived.subject) == (USER, "Ünïcode")
    raw = b"".join([piece async for piece in post.mail.raw(IN, arrived.id)])
    assert len(raw) == arrived.size > 1_000_000
    assert b"Support" in raw
    assert (await post.mail.inbox(IN, after=page.cursor, limit=1)).messages == ()


@pytest.mark.parametrize(
    "fault",
    [
        DROP_REPLY,
        Fault(limit_data=60, reset=True),
        Fault(cut_request=700),
        Fault(twice=True),
        Fault(answer=reply("502 Bad Gateway")),
        Fault(answer=reply("429 Too Many Requests", "Retry-After: 0.02"), before=True),
        Fault(mangle=lambda _: reply("200 OK", body=b"<html>")),
    ],
)
async def test_a_message_is_accepted_once_whatever_comes_back(
    post: Post, server: MailServer, fault: Fault
) -> None:
    """P9, P13."""
    post.proxy.rule = each([fault] * 2, lambda one: one.method == "POST")
    accepted = await post.mail.send(OUT, message(), key="one")
    await until_sent(post.mail, accepted.id)
    assert (await post.mail.send(OUT, message(), key="one")).id == accepted.id
    assert server.counters.messages == 1


async def test_a_message_that_nobody_answers_for_is_not_said_to_have_failed(post: Post) -> None:
    """P13."""
    post.proxy.rule = lambda one: DROP_REPLY if one.method == "POST" else Fault()
    with pytest.raises(PlatformUnavailable, match="whether the message was accepted is") as told:
        await post.mail.send(OUT, message(), key="the-key")
    assert "the-key" in told.value.hint
    post.proxy.rule = lambda one: DROP_REPLY if one.method == "GET" else Fault()
    accepted = await post.mail.send(OUT, message(), key="another")
    assert accepted.state is MessageState.QUEUED
    assert accepted.id


async def test_what_cannot_be_sent_is_told(post: Post) -> None:
    with pytest.raises(NotThere):
        await post.mail.send("absent", message(), key="1")
    with pytest.raises(Blocked, match="receives"):
        await post.mail.send(IN, message(), key="2")
    with pytest.raises(InvalidInput):
        await post.mail.send(OUT, message(reply_to="no address"), key="3")
    with pytest.raises(Blocked, match="is one for SMTP"):
        await post.mail.inbox(OUT)
    with pytest.raises(NotThere):
        await post.mail.sent(OUT, "absent")
    with pytest.raises(NotThere):
        [piece async for piece in post.mail.raw(IN, "absent")]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(limit_data=2_000),
        Fault(limit_data=2_000, reset=True),
        Fault(answer=reply("200 OK", body=b"Subject: not the message")),
        Fault(answer=reply("502 Bad Gateway", body=b"<html>")),
        Fault(answer=b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_a_message_that_does_not_come_whole_is_an_error(post: Post, fault: Fault) -> None:
    """P14."""
    await post.mail.send(OUT, message("line\n" * 1_000), key="one")
    page = await until_received(post.mail)
    post.proxy.rule = lambda one: fault if one.path.endswith("/raw") else Fault()
    with pytest.raises(PlatformUnavailable):
        [piece async for piece in post.mail.raw(IN, page.messages[0].id)]


async def test_a_token_for_gateways_reads_no_mail(post: Post) -> None:
    other = HttpMail(post.gateways._client._access, patience=QUICK)
    with pytest.raises(PlatformUnavailable, match="needs a token of role send"):
        await other.inbox(IN)
    with pytest.raises(PlatformUnavailable, match="needs a token of role send"):
        await other.send(OUT, message(), key="1")
    await other.close()
