"""Bad input: whatever is sent, the field to mend is named, and nothing of it is repeated."""

import asyncio
import gzip
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from reconciler.declarations.certificates import CertificateFiles
from reconciler.model import Certificate, Gateway, ProtocolType, Status, StatusState
from reconciler.service.http.routing import SMALL_BODY, HttpSettings
from reconciler.service.store import Store
from tests.certs import ca
from tests.service.http.api import ACTOR, CANARY, Api, api, certificate, wish
from tests.service.running import Running, running

PEM = certificate().pem
DIGEST = certificate().digest
KEY_PEM = ca().key_pem.decode()

Change = Callable[[dict[str, Any]], Any]


def gateway(**fields: Any) -> Change:
    return lambda body: body["gateway"].update(fields)


def at_top(**fields: Any) -> Change:
    return lambda body: body.update(fields)


def password(**fields: Any) -> Change:
    return lambda body: body["password"].update(fields)


def without(*path: str) -> Change:
    def change(body: dict[str, Any]) -> None:
        *outer, last = path
        for step in outer:
            body = body[step]
        del body[last]

    return change


def certificate_at(file: str, digest: str = DIGEST) -> Change:
    return gateway(certificate_file={"file": file, "digest": digest})


def another_certificate(pem: str, digest: str | None = None) -> Change:
    anchor = Certificate("certs/root.pem", pem)

    def change(body: dict[str, Any]) -> None:
        body["certificates"] = {digest or anchor.digest: pem}
        body["gateway"]["certificate_file"]["digest"] = digest or anchor.digest

    return change


WRONG: list[tuple[Change, str]] = [
    (gateway(host="smtp://mail.example.com"), "gateway.host"),
    (gateway(host="mail.example.com\n"), "gateway.host"),
    (gateway(host=""), "gateway.host"),
    (gateway(host=None), "gateway.host"),
    (without("gateway", "host"), "gateway.host"),
    (gateway(port=0), "gateway.port"),
    (gateway(port=65536), "gateway.port"),
    (gateway(port="993"), "gateway.port"),
    (gateway(port=True), "gateway.port"),
    (gateway(protocol_type="FTP"), "gateway.protocol_type"),
    (gateway(protocol_type="SMTP"), "gateway.default_email_address"),
    (gateway(default_email_address="a@b@c"), "gateway.default_email_address"),
    (gateway(default_email_address="a@b.de\r\nBcc: x@y.z"), "gateway.default_email_address"),
    (gateway(default_user_name="Support\r\nBcc: x@y.example"), "gateway.default_user_name"),
    (gateway(default_user_name="\u202eSupport"), "gateway.default_user_name"),
    (gateway(user_id="a\0b"), "gateway.user_id"),
    (gateway(user_id="u" * 501), "gateway.user_id"),
    (gateway(user_id=None), "gateway.user_id"),
    (gateway(authentication_flag="yes"), "gateway.authentication_flag"),
    (gateway(encoding_mode="UTF-16"), "gateway.encoding_mode"),
    (gateway(encryption_mode="SSL"), "gateway.encryption_mode"),
    (gateway(receive_from="yesterday"), "gateway.receive_from"),
    (gateway(state="off"), "gateway.state"),
    (gateway(labels={"a b": "c"}), "gateway.labels"),
    (gateway(labels={"a": "c\nd"}), "gateway.labels.a"),
    (gateway(labels=["a"]), "gateway.labels"),
    (gateway(nonsense=1), "gateway.nonsense"),
    (gateway(user_password={"secret": "x"}), "gateway.user_password"),
    (gateway(name="Other"), "gateway.name"),
    (gateway(name="../x"), "gateway.name"),
    (gateway(certificate_file=None), "gateway.certificate_file"),
    (certificate_at("/etc/passwd"), "gateway.certificate_file"),
    (certificate_at("../a.pem"), "gateway.certificate_file"),
    (certificate_at("a.pem", "sha256:0"), "gateway.certificate_file.digest"),
    (certificate_at("a.pem", "sha256:" + "0" * 64), "certificates"),
    (at_top(certificates={}), "certificates"),
    (another_certificate("no certificate"), "certificates"),
    (another_certificate(PEM + KEY_PEM), "certificates"),
    (another_certificate(KEY_PEM), "certificates"),
    (another_certificate(PEM.replace("M", "N", 3)), "certificates"),
    (another_certificate(PEM, "sha256:" + "0" * 64), "certificates"),
    (another_certificate("x" * 65537), "certificates.*"),
    (another_certificate(PEM.replace("\n", "\u00a0", 2)), "certificates"),
    (another_certificate(PEM + PEM.replace("M", "N", 3)), "certificates"),
    (password(value=""), "password.value"),
    (password(value="x" * 65), "password.value"),
    (password(value=7), "password.value"),
    (password(known="yes"), "password.known"),
    (password(known=False), "password.known"),
    (password(fingerprint="abc"), "password.fingerprint"),
    (password(value=None, fingerprint="0" * 8 + ":" + "0" * 64), "password.fingerprint"),
    (without("password"), "password"),
    (without("password", "known"), "password.known"),
    (at_top(owner="a b"), "owner"),
    (without("owner"), "owner"),
    (without("actor"), "actor"),
    (at_top(actor={"name": ""}), "actor.name"),
    (at_top(actor={"name": "a\x1b[2J"}), "actor.name"),
    (at_top(actor={"name": "a", "run": 7}), "actor.run"),
    (at_top(reconnect="true"), "reconnect"),
    (at_top(gateway=[]), "gateway"),
    (at_top(surprise=1), "surprise"),
    (gateway(default_user_name="\ud800"), ""),
]  # fmt: skip


@pytest.fixture
async def run(tmp_path: Path) -> Any:
    async with running(tmp_path) as found:
        yield found


async def test_the_field_is_named_and_no_value_is_repeated(run: Running) -> None:
    """A33: whatever is in a field that ends up in a header or a command."""
    caller = await api(run)
    for change, field in WRONG:
        body = wish()
        change(body)
        answer = await caller.put("support", body, If_None_Match="*")
        assert (answer.status, answer.slug) in {(422, "invalid"), (400, "invalid")}, field
        if field:
            fields = [one["field"] for one in answer.data["errors"]]
            assert any(one.startswith(field) for one in fields), (field, fields)
        said = json.dumps(answer.data)
        for value in ("evil", "Bcc", "x" * 65, "/etc/passwd", "PRIVATE KEY", "\\u001b"):
            assert value not in said
    assert (await caller.get("/v1/gateways")).data["count"] == 0


SQUEEZED = (
    PEM.replace("\n", "")
    .replace("CERTIFICATE----------", "CERTIFICATE-----\n-----")
    .replace("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n")
)


@pytest.mark.parametrize(
    "pem",
    [PEM.replace("\n", "\r\n"), f"\n \t{PEM}\n\n", SQUEEZED, PEM.rstrip("\n"), PEM + "\n" + PEM],
    ids=["CRLF", "blanks around", "one line", "no last newline", "two"],
)
async def test_a_certificate_is_kept_as_declarations_have_it(
    run: Running, tmp_path: Path, pem: str
) -> None:
    """So what is dumped, and declared again, makes no change."""
    caller, body = await api(run), wish()
    another_certificate(pem)(body)
    assert (await caller.put("support", body, If_None_Match="*")).status == 201
    found = (await caller.get("/v1/gateways/support")).data
    digest = found["gateway"]["certificate_file"]["digest"]
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs/root.pem").write_text(found["certificates"][digest])
    declared = CertificateFiles(tmp_path).read("support.yaml", "certs/root.pem").certificate
    assert declared
    assert declared.digest == digest
    assert declared.pem == PEM * pem.count("BEGIN")


async def test_every_wrong_field_at_once(run: Running) -> None:
    caller = await api(run)
    body = wish(host="a b", port=0, protocol_type="SMTP")
    body["owner"] = ""
    body["password"]["value"] = CANARY * 4
    answer = await caller.put("support", body, If_None_Match="*")
    fields = [one["field"] for one in answer.data["errors"]]
    assert sorted(fields) == [
        "gateway.default_email_address",
        "gateway.host",
        "gateway.port",
        "owner",
        "password.value",
    ]
    assert "5" not in answer.data["title"]
    assert answer.data["detail"].endswith("and 4 more")


QUICK = HttpSettings(header_seconds=0.3, body_seconds=0.3)

NOT_JSON: dict[str, bytes] = {
    "empty": b"",
    "words": b"hello",
    "two values": b"{} {}",
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": json.dumps({"a": 1}).encode("utf-16"),
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "a fraction": b'{"a": 465.0}',
    "an exponent": b'{"a": 1e400}',
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, deeper": b'{"b": [{"a": 1, "a": 2}]}',
    "a long number": b'{"a": ' + b"9" * 10_000 + b"}",
    "deep lists": b"[" * 50 + b"]" * 50,
    "very deep lists": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 100 + b"1" + b"}" * 100,
    "half a pair": b'{"a": "\\ud800"}',
}


async def test_what_is_no_json(run: Running) -> None:
    """A40: deep, endless or ambiguous JSON."""
    caller = await api(run)
    kind = {"Content_Type": "application/json"}
    for name, body in NOT_JSON.items():
        answer = await caller.write("POST", "/v1/lock", None, raw=body, **kind)
        assert (answer.status, answer.slug) == (400, "invalid"), name
        assert answer.data["detail"].startswith("the body is not JSON as it is read here: "), name


async def test_json_with_much_in_it_that_is_not_deep(run: Running) -> None:
    caller = await api(run)
    body = json.dumps({"actor": ACTOR, "more": [{} for _ in range(10_000)]}).encode()
    answer = await caller.write("POST", "/v1/lock", None, raw=body, Content_Type="application/json")
    assert (answer.status, answer.data["errors"][0]["field"]) == (422, "more")


async def test_another_content_type(run: Running) -> None:
    caller = await api(run)
    body = json.dumps({"actor": ACTOR}).encode()
    for kind in (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = await caller.write("POST", "/v1/lock", None, raw=body, Content_Type=kind)
        assert (answer.status, answer.slug) == (415, "invalid"), kind


async def test_a_compressed_body_is_not_unpacked(run: Running) -> None:
    """A40: a bomb of 20 MB in 20 KB."""
    caller = await api(run)
    bomb = gzip.compress(bytes(20_000_000))
    tracemalloc.start()
    try:
        for encoding in ("gzip", "deflate", "br", "gzip, gzip", "zstd"):
            headers = {"Content_Encoding": encoding, "Content_Type": "application/json"}
            answer = await caller.write("POST", "/v1/lock", None, raw=bomb, **headers)
            assert (answer.status, answer.slug) == (415, "invalid"), encoding
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


async def test_a_body_that_is_too_large(tmp_path: Path) -> None:
    """A40: whether it says so beforehand or only sends on and on."""
    async with running(tmp_path, limits=QUICK) as run:
        caller = await api(run)
        large, kind = b" " * (SMALL_BODY + 1), "application/json"
        told = await caller.write("POST", "/v1/lock", None, raw=large, Content_Type=kind)
        assert (told.status, told.slug) == (413, "too-large")
        endless = await sent_in_chunks(run, caller.headers, 1_000)
        assert endless.startswith(b"HTTP/1.1 413 ")


async def sent_in_chunks(run: Running, headers: Mapping[str, str], chunks: int) -> bytes:
    """The answer to a body without a length, of as many chunks as the service takes."""
    lines = [
        "POST /v1/lock HTTP/1.1",
        "Host: x",
        "Transfer-Encoding: chunked",
        "Content-Type: application/json",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    said = bytearray()
    async with connected(run) as (reader, writer):
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        reading = asyncio.create_task(collect(reader, said))
        with suppress(ConnectionError):
            for _ in range(chunks):
                writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
                await writer.drain()
        await reading
    return bytes(said)


# slow, and not HTTP at all


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET /v1/gateways HTTP/1.1\r\n",
        b"GET /v1/gateways HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    ],
)
async def test_headers_that_do_not_end(tmp_path: Path, begin: bytes) -> None:
    """A40: one byte after the other keeps no connection open."""
    async with running(tmp_path, limits=QUICK) as run:
        said = await dribbled(run, begin)
        assert said == b"" or (said.startswith(b"HTTP/1.0 400 ") and not begin)


async def test_headers_that_do_not_end_after_a_good_request(tmp_path: Path) -> None:
    """A40: the second request of a connection has a deadline too."""
    async with running(tmp_path, limits=QUICK) as run:
        first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n"
        assert (await dribbled(run, first)).startswith(b"HTTP/1.1 ")


async def test_a_body_that_does_not_come(tmp_path: Path) -> None:
    """A40: the body has a deadline, and the answer says so."""
    async with running(tmp_path, limits=QUICK) as run:
        token = (await run.token("apply")).text().reveal()
        begin = (
            f"POST /v1/lock HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        said = await dribbled(run, begin.encode())
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"urn:gateways:problem:invalid" in said


async def dribbled(run: Running, begin: bytes) -> bytes:
    """What is answered to a request that begins well and then comes byte by byte, until closed."""
    said = bytearray()
    async with connected(run) as (reader, writer):
        writer.write(begin)
        reading = asyncio.create_task(collect(reader, said))
        with suppress(ConnectionError):
            while not reading.done():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        await reading
    return bytes(said)


async def collect(reader: asyncio.StreamReader, said: bytearray) -> None:
    """Also what came before the connection was reset."""
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            said += piece


@asynccontextmanager
async def connected(
    run: Running,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the service, which has ten seconds for whatever it does."""
    host, port = run.url.removeprefix("http://").split(":")
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_an_answer_that_is_not_read(tmp_path: Path) -> None:
    """A40: who asks for everything and reads nothing is cut off, and what he is sent is shared."""
    limits = HttpSettings(answer_seconds=0.3, at_once=1)
    async with running(tmp_path, limits=limits) as run:
        await run.site.service.write(lambda found: fill(Store(found, "acme")))
        token = (await run.token("read")).text().reveal()
        caller = Api(run, {"Authorization": f"Bearer {token}"})
        assert (await caller.get("/v1/gateways?limit=1")).status == 200
        with closing(socket.socket()) as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", int(run.url.rpartition(":")[2])))
            head = f"GET /v1/gateways HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            reader.sendall(head.encode())
            async with asyncio.timeout(10):
                while (await caller.get("/v1/gateways?limit=1")).status != 429:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                while (await caller.get("/v1/gateways?limit=1")).status == 429:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            head_of_answer, _, body = (await asyncio.to_thread(drained, reader)).partition(
                b"\r\n\r\n"
            )
        length = int(head_of_answer.lower().split(b"content-length: ")[1].split()[0])
        assert len(body) < length


def drained(reader: socket.socket) -> bytes:
    """What had been sent before the connection was cut."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := reader.recv(65536):
            found += piece
    return found


LABELS = tuple((f"label-{number:02}", "x" * 63) for number in range(64))


def fill(store: Store) -> None:
    """Gateways that make 8 KB of JSON each, more than sockets of this machine buffer."""
    for number in range(1_000):
        gateway = Gateway(f"gw-{number}", ProtocolType.IMAP, "a.example", 993, labels=LABELS)
        status = Status(StatusState.SUCCEEDED, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
        store.insert(gateway, "ours", status, "2026-01-01T00:00:00Z")


NOT_HTTP: dict[str, bytes] = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "SMTP": b"EHLO example.com\r\n\r\n",
    "no version": b"GET /v1/gateways\r\n\r\n",
    "a bare line break": b"GET /v1/gateways HTTP/1.1\nHost: x\n\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer secret\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "a NUL in a token": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer gwt_\0secret\r\n\r\n",
    "a long line": b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 2_000 + b"\r\n",
    "two lengths": b"POST /v1/lock HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": b"POST /v1/lock HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /v1/lock HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
}


async def test_what_is_no_http(run: Running, caplog: pytest.LogCaptureFixture) -> None:
    """A33: nothing of it comes back, and nothing of it is logged."""
    for name, sent in NOT_HTTP.items():
        said = bytearray()
        async with connected(run) as (reader, writer):
            writer.write(sent)
            writer.write_eof()
            await collect(reader, said)
        assert b"secret" not in said, name
        if said:
            head, _, body = bytes(said).partition(b"\r\n\r\n")
            assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), name
            assert b"application/problem+json" in head
            assert b"nosniff" in head
            assert json.loads(body)["type"] == "urn:gateways:problem:invalid"
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_an_expectation_that_is_not_known(run: Running) -> None:
    caller = await api(run)
    answer = await caller.write("POST", "/v1/lock", {"actor": ACTOR}, Expect="secret-coffee")
    assert answer.status == 417
    assert "coffee" not in str(answer.data)
