"""One attempt at a target: who is connected to, and what a hostile answer can do."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from reconciler.service.mail.webhook_target import Answer, Caller, Outcome
from tests.certs import Issued, ca, leaf
from tests.service.mail.targets import SECONDS, Told, fine, target

BODY = b'{"type":"message.received","timestamp":"","data":{"subject":"x"}}'
HEADERS = {"webhook-id": "msg_1"}
AGAIN = Outcome.AGAIN

ALLOW = Caller(ssl.create_default_context(), private_hosts=True, seconds=SECONDS)
DENY = Caller(ssl.create_default_context(), private_hosts=False, seconds=SECONDS)

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_target(talk: Talk) -> AsyncIterator[str]:
    """A target that says what no HTTP server would."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that are connected to; none is really."""
    seen: list[str] = []

    async def connect(_loop: Any, _socket: Any, address: Any) -> None:
        seen.append(address[0])
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(asyncio.BaseEventLoop, "sock_connect", connect, raising=False)
    monkeypatch.setattr("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", connect)
    return seen


def answering(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> None:
    """Look-ups of any name give these addresses, one answer after the other, the last for ever."""
    left = list(answers)

    def look_up(_host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [
            (
                socket.AF_INET6 if ":" in one else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (one, port, 0, 0) if ":" in one else (one, port),
            )
            for one in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


PRIVATE = """
127.0.0.1 127.1 0x7f000001 2130706433 017700000001 0 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1
169.254.169.254 0xa9fea9fe 100.64.0.1 224.0.0.1 [::1] [::] [fe80::1] [fd00::2] [::ffff:10.0.0.1]
[::ffff:a9fe:a9fe] [64:ff9b::a00:1] [2002:a00:1::] localhost
"""


@pytest.mark.parametrize("host", PRIVATE.split())
async def test_no_private_address_however_it_is_spelled(host: str, connects: list[str]) -> None:
    """A39: also where a URL was stored while private hosts were allowed."""
    answer = await DENY.call(f"https://{host}/", BODY, HEADERS)
    assert answer == Answer(AGAIN, "its host has an address that is not public")
    assert connects == []


async def test_one_private_address_among_public_ones_is_enough(
    monkeypatch: pytest.MonkeyPatch, connects: list[str]
) -> None:
    """A39."""
    answering(monkeypatch, ("8.8.8.8", "10.0.0.1"))
    answer = await DENY.call("https://desk.example.com/", BODY, HEADERS)
    assert answer.words == "its host has an address that is not public"
    assert connects == []


async def test_a_name_that_answers_otherwise_the_next_moment(
    monkeypatch: pytest.MonkeyPatch, connects: list[str]
) -> None:
    """A39: what was judged is what is connected to."""
    answering(monkeypatch, ("8.8.8.8", "2606:4700::1111"), ("127.0.0.1",))
    answer = await DENY.call("https://desk.example.com/", BODY, HEADERS)
    assert answer.words == "it refuses the connection: nothing listens there"
    assert sorted(connects) == ["2606:4700::1111", "8.8.8.8"]
    assert await DENY.call("https://desk.example.com/", BODY, HEADERS) == Answer(
        AGAIN, "its host has an address that is not public"
    )
    assert len(connects) == 2


async def test_http_goes_to_loopback_alone(
    monkeypatch: pytest.MonkeyPatch, connects: list[str]
) -> None:
    answering(monkeypatch, ("127.0.0.1", "10.0.0.1"))
    assert (await ALLOW.call("http://localhost:8080/", BODY, HEADERS)).outcome is AGAIN
    assert connects == []


async def test_no_such_host() -> None:
    answer = await DENY.call("https://nothing.invalid/", BODY, HEADERS)
    assert answer.outcome is AGAIN
    assert answer.words.startswith("nothing.invalid: no ")


async def test_neither_proxy_nor_cookie_nor_login_of_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A39: what lies about here for other programs is not sent to a stranger."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with target(fine) as receiver:
        assert (await ALLOW.call(receiver.url, BODY, HEADERS)).outcome is Outcome.TAKEN
    assert "authorization" not in receiver.told[0].headers
    assert "cookie" not in receiver.told[0].headers


async def test_a_huge_answer_is_not_read() -> None:
    """G34: 2xx has taken it, whatever else is said."""
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            await writer.drain()
            sent += 0x8000

    async with raw_target(endless) as url:
        answer = await ALLOW.call(url, BODY, HEADERS)
    assert answer == Answer(Outcome.TAKEN, "answered 200")
    assert sent < 16 * 1024 * 1024  # what fits into the sockets' buffers


async def test_a_body_that_drips_does_not_hold_us() -> None:
    """G34."""

    async def dripping(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_target(dripping) as url:
        assert (await ALLOW.call(url, BODY, HEADERS)).outcome is Outcome.TAKEN


async def test_a_target_that_drips_its_header_is_cut_off() -> None:
    """G34: a limit by the clock on the wall, not between two bytes."""

    async def dripping(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    hasty = Caller(ALLOW.tls, private_hosts=True, seconds=0.4)
    async with raw_target(dripping) as url:
        answer = await hasty.call(url, BODY, HEADERS)
    assert answer == Answer(AGAIN, "no answer within 0.4 seconds")


SAID = {
    "nothing": b"",
    "no HTTP": b"220 mail.example.com ESMTP\r\n",
    "a huge header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "headers for ever": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
    "a wrong status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "half a line": b"HTTP/1.1 20",
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID.keys())
async def test_what_is_no_answer(said: bytes) -> None:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    async with raw_target(say) as url:
        answer = await ALLOW.call(url, BODY, HEADERS)
    assert answer.outcome is AGAIN
    assert answer.words in {
        "its answer is not HTTP as it is read here",
        "the connection was lost before an answer",
    }


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.TAKEN),
        (299, Outcome.TAKEN),
        (301, AGAIN),
        (304, AGAIN),
        (400, AGAIN),
        (401, AGAIN),
        (404, AGAIN),
        (410, Outcome.GONE),
        (429, AGAIN),
        (500, AGAIN),
        (599, AGAIN),
    ],
)
async def test_statuses(status: int, outcome: Outcome) -> None:
    async def say(_: Told) -> int:
        return status

    async with target(say) as receiver:
        answer = await ALLOW.call(receiver.url, BODY, HEADERS)
    assert answer.outcome is outcome
    assert answer.words.startswith(f"answered {status}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("-5", 0),
        ("9" * 30, 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0),
        ("", 0),
    ],
)
async def test_retry_after(text: str, seconds: float) -> None:
    async def busy(_: Told) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": text})

    async with target(busy) as receiver:
        assert (await ALLOW.call(receiver.url, BODY, HEADERS)).pause == seconds


def server_tls(folder: Path, issued: Issued) -> ssl.SSLContext:
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(issued.pem)
    key.write_bytes(issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_certificates_are_verified(tmp_path: Path) -> None:
    root = ca()
    trusting = ssl.create_default_context(cadata=root.pem.decode())
    caller = Caller(trusting, private_hosts=True, seconds=SECONDS)
    good = leaf(root, ips=["127.0.0.1"])
    for issued, expected in (
        (good, Answer(Outcome.TAKEN, "answered 204")),
        (leaf(root, ips=["127.0.0.2"]), None),
        (leaf(ca("Another Root"), ips=["127.0.0.1"]), None),
        (leaf(None, ips=["127.0.0.1"]), None),
    ):
        async with target(fine, tls=server_tls(tmp_path, issued)) as receiver:
            answer = await caller.call(receiver.url, BODY, HEADERS)
        untrusted = Answer(AGAIN, "its certificate is not trusted, or not for this host")
        assert answer == (expected or untrusted)
        assert len(receiver.told) == (1 if expected else 0)


async def test_plain_text_where_tls_is_expected() -> None:
    async with target(fine) as receiver:
        answer = await ALLOW.call(receiver.url.replace("http:", "https:"), BODY, HEADERS)
    assert answer == Answer(AGAIN, "the TLS handshake failed")
