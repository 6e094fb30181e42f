"""Where a token may go, and under which certificate: nothing of the settings can change that."""

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.errors import InvalidInput, PlatformUnavailable
from reconciler.model import Place, Secret, Target
from reconciler.platforms import open_platform, open_readable
from reconciler.platforms.http import HttpPlatform
from reconciler.platforms.http_access import Access, access_of
from reconciler.platforms.http_retry import Patience
from reconciler.tokens import Token
from tests import certs
from tests.platforms.fault_proxy import eavesdropper, fault_proxy
from tests.service.running import Running, running

SECRET = "s" * 43
HERE = "http://127.0.0.1:8080"
CLOUD = "https://gateways.example.com:443"
QUICK = Patience(attempt=2.0, budget=2.0, attempts=2, first=0.001)


def token(origin: str | None) -> Token:
    return Token("abcdefghij01", Secret(SECRET), origin)


def target(url: str, **fields: str) -> Target:
    given = {"url": url, "tenant": "acme", "token_env": "GATEWAYS_TOKEN", **fields}
    place = Place("gateways.yaml", 4, 3)
    return Target("production", "http", place, "ours", "gateways.d", (), **given)  # type: ignore[arg-type]


def environment(origin: str | None) -> dict[str, str]:
    return {"GATEWAYS_TOKEN": token(origin).text().reveal() + "\n"}


# a token is for one address


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://gateways.example.com", CLOUD),
        ("https://gateways.example.com/", CLOUD),
        ("https://Gateways.Example.COM:443", CLOUD),
        ("http://127.0.0.1:8080", HERE),
        ("http://127.0.0.1:8080", None),
        ("http://localhost:8080", None),
        ("http://[::1]:8080", None),
        ("https://localhost", None),
    ],
)
def test_a_token_goes_to_its_own_address(url: str, origin: str | None) -> None:
    access = access_of(target(url), environment(origin))
    assert access.origin == (origin or access.origin)
    assert access.token == token(origin)
    assert (access.tls is None) is url.startswith("http:")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://gateways.example.com.evil.example", CLOUD),
        ("https://evil.example/gateways.example.com", CLOUD),
        ("https://gateways.example.com:8443", CLOUD),
        ("https://sub.gateways.example.com", CLOUD),
        ("https://gateways.example.com.", CLOUD),
        ("https://gateways.example.com\\.evil.example", CLOUD),
        ("http://localhost:443", CLOUD),
        ("http://127.0.0.1:8081", HERE),
        ("http://localhost:8080", HERE),
        ("https://gateways.example.com", None),
        ("https://localhost.evil.example", None),
        ("https://127.0.0.1.evil.example", None),
    ],
)
def test_a_token_goes_nowhere_else(url: str, origin: str | None) -> None:
    """A3, A4: settings that a pull request changed do not make it go."""
    with pytest.raises(InvalidInput, match="so it is not sent to") as told:
        access_of(target(url), environment(origin))
    assert told.value.message.startswith("gateways.yaml:4:3: target 'production': the token of")
    assert "gateways token new --url" in told.value.hint
    assert SECRET not in told.value.message + told.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "http://gateways.example.com",
        "http://192.0.2.1:80",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0:80",
    ],
)
def test_nothing_is_said_in_clear_to_another_machine(url: str) -> None:
    for origin in (url, None):
        with pytest.raises(InvalidInput, match="is not encrypted"):
            access_of(target(url), environment(origin))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateways.example.com",
        "ftp://gateways.example.com",
        "https://",
        "https://user:password@gateways.example.com",
        "https://gateways.example.com@evil.example",
        "https://gateways.example.com:99999",
        "https://gateways.example.com:0",
        "https://[::1",
    ],
)
def test_what_is_no_address_of_a_service(url: str) -> None:
    with pytest.raises(InvalidInput, match="url is no address"):
        access_of(target(url), environment(None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "environment variable GATEWAYS_TOKEN is not set"),
        ("  \n", "environment variable GATEWAYS_TOKEN is not set"),
        ("hunter2-hunter2", "holds no token: it is not a token of this program"),
        (f"gwt_abcdefghij01.{SECRET}.%%%", "holds no token"),
        (f"gwt_abcdefghij01.{SECRET}._w", "holds no token: it is damaged"),
        (f"gwt_abcdefghij01.{SECRET}. x", "holds no token"),
    ],
)
def test_a_variable_without_a_token(text: str | None, message: str) -> None:
    given = {} if text is None else {"GATEWAYS_TOKEN": text}
    with pytest.raises(InvalidInput, match=message) as told:
        access_of(target(HERE), given)
    assert SECRET not in told.value.message
    assert "hunter2" not in told.value.message + told.value.hint


def test_nothing_of_it_shows_in_a_text() -> None:
    access = access_of(target(HERE), environment(HERE))
    platform = HttpPlatform(access, "ours")
    shown = f"{access!r} {platform._client!r} {platform!r} {access.token}"
    assert SECRET not in shown


def test_planning_cannot_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATEWAYS_TOKEN", environment(HERE)["GATEWAYS_TOKEN"])
    assert isinstance(open_platform(target(HERE), tmp_path), HttpPlatform)
    assert not hasattr(open_readable(target(HERE), tmp_path), "create")


# certificates

ROOT = certs.ca()
OTHER_ROOT = certs.ca("Another Root")
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def context(issued: certs.Issued, folder: Path) -> ssl.SSLContext:
    (folder / "server.pem").write_bytes(issued.pem + issued.key_pem)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "server.pem")
    return made


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as service:
        yield service


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    path = tmp_path / "root.pem"
    path.write_bytes(ROOT.pem)
    return str(path)


async def read(port: int, service: Running, host: str = "localhost", **environ: str) -> None:
    """Read through what listens on that port, with a token for just that address."""
    url = f"https://{host}:{port}"
    made = await service.token("read", origin=url)
    given = {"GATEWAYS_TOKEN": made.text().reveal(), **environ}
    platform = HttpPlatform(access_of(target(url), given), "ours", patience=QUICK)
    try:
        await platform.read()
    finally:
        await platform.close()


async def test_an_authority_of_ones_own_is_named_by_the_environment(
    service: Running, tmp_path: Path, ca_file: str
) -> None:
    issued = certs.leaf(ROOT, ["localhost"], ["127.0.0.1"])
    tls = context(issued, tmp_path)
    async with fault_proxy(int(service.url.rpartition(":")[2]), tls=tls) as front:
        for host in ("localhost", "127.0.0.1"):
            await read(front.port, service, host, GATEWAYS_CA_FILE=ca_file)
        assert len(front.seen) == 2


@pytest.mark.parametrize(
    ("issued", "why", "hint"),
    [
        (certs.leaf(OTHER_ROOT, ["localhost"]), "unable to get local issuer", "GATEWAYS_CA_FILE"),
        (certs.leaf(None, ["localhost"]), "self-signed certificate", "GATEWAYS_CA_FILE"),
        (certs.leaf(ROOT, ["elsewhere.example"]), "Hostname mismatch", ""),
        (certs.leaf(ROOT, ["localhost"], end=NOW - DAY), "has expired", "clock is right"),
        (certs.leaf(ROOT, ["localhost"], start=NOW + DAY), "not yet valid", "clock is right"),
    ],
)
async def test_a_wrong_certificate_hears_nothing(  # noqa: PLR0913, PLR0917 - fixtures and cases
    service: Running,
    tmp_path: Path,
    ca_file: str,
    issued: certs.Issued,
    why: str,
    hint: str,
) -> None:
    """P16: and where it may be the clock, that is said."""
    tls = context(issued, tmp_path)
    async with fault_proxy(int(service.url.rpartition(":")[2]), tls=tls) as front:
        with pytest.raises(PlatformUnavailable, match=why) as told:
            await read(front.port, service, GATEWAYS_CA_FILE=ca_file)
        assert hint in told.value.hint
        assert front.seen == []


async def test_the_systems_authorities_are_trusted_where_no_file_is_named(
    service: Running, tmp_path: Path, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = context(certs.leaf(ROOT, ["localhost"]), tmp_path)
    async with fault_proxy(int(service.url.rpartition(":")[2]), tls=tls) as front:
        with pytest.raises(PlatformUnavailable, match="is not trusted"):
            await read(front.port, service)
        monkeypatch.setenv("SSL_CERT_FILE", ca_file)  # how a system is told of another
        await read(front.port, service)


async def test_old_tls_and_none_are_refused(service: Running, tmp_path: Path, ca_file: str) -> None:
    old = context(certs.leaf(ROOT, ["localhost"]), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is what this is about
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with fault_proxy(int(service.url.rpartition(":")[2]), tls=old) as front:
        with pytest.raises(PlatformUnavailable, match=r"the connection was cut|no TLS 1\.2 or"):
            await read(front.port, service, GATEWAYS_CA_FILE=ca_file)
        assert front.seen == []
    async with eavesdropper() as (port, heard):
        with pytest.raises(PlatformUnavailable, match=r"no TLS 1\.2 or 1\.3 is spoken"):
            await read(port, service, GATEWAYS_CA_FILE=ca_file)
        assert heard
        assert b"Bearer" not in heard


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_of_authorities_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    given = {**environment(CLOUD), "GATEWAYS_CA_FILE": str(path)}
    with pytest.raises(InvalidInput, match="the file that GATEWAYS_CA_FILE names cannot be used"):
        access_of(target("https://gateways.example.com"), given)


# proxies


@contextlib.asynccontextmanager
async def tunnel() -> AsyncIterator[tuple[int, bytearray]]:
    """A forward proxy that knows CONNECT: its port, and what was said to it and not through it."""
    told = bytearray()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                writer.write(piece)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.extend(await reader.readuntil(b"\r\n\r\n"))
        host, _, port = told.split()[1].decode().rpartition(":")
        there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], told
    finally:
        server.close()


async def test_a_proxy_is_used_if_it_is_asked_for_and_told_nothing(
    service: Running, tmp_path: Path, ca_file: str
) -> None:
    tls = context(certs.leaf(ROOT, ["localhost"]), tmp_path)
    async with (
        fault_proxy(int(service.url.rpartition(":")[2]), tls=tls) as front,
        tunnel() as (port, told),
    ):
        proxy = f"http://127.0.0.1:{port}"
        await read(front.port, service, GATEWAYS_CA_FILE=ca_file, GATEWAYS_PROXY=proxy)
        assert told.startswith(f"CONNECT localhost:{front.port} ".encode())
        assert b"gwt_" not in told
        assert b"acme" not in told


async def test_other_variables_name_no_proxy(
    service: Running, tmp_path: Path, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3: nor a file of passwords."""
    (tmp_path / ".netrc").write_text("machine localhost login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    tls = context(certs.leaf(ROOT, ["localhost"]), tmp_path)
    async with (
        fault_proxy(int(service.url.rpartition(":")[2]), tls=tls) as front,
        eavesdropper() as (port, heard),
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{port}")
        await read(front.port, service, GATEWAYS_CA_FILE=ca_file)
        assert b"Authorization: Bearer gwt_" in front.seen[0].request
        assert heard == b""


@pytest.mark.parametrize("proxy", ["proxy.example.com:3128", "socks5://proxy:1080", "http://"])
def test_what_is_no_proxy(proxy: str) -> None:
    given = {**environment(CLOUD), "GATEWAYS_PROXY": proxy}
    with pytest.raises(InvalidInput, match="GATEWAYS_PROXY is no address"):
        access_of(target("https://gateways.example.com"), given)


async def test_a_proxy_that_refuses_or_is_not_there(service: Running, ca_file: str) -> None:
    async with eavesdropper() as (port, heard):
        proxy = f"http://127.0.0.1:{port}"
        with pytest.raises(PlatformUnavailable, match=r"cannot be reached|was lost"):
            await read(1, service, GATEWAYS_CA_FILE=ca_file, GATEWAYS_PROXY=proxy)
        assert b"gwt_" not in heard
    with pytest.raises(PlatformUnavailable, match="cannot be reached: connection refused"):
        await read(1, service, GATEWAYS_CA_FILE=ca_file, GATEWAYS_PROXY=f"http://127.0.0.1:{port}")


# whose gateways they are


async def test_a_token_of_another_tenant_shows_no_empty_list(service: Running) -> None:
    """P29: or everything would look as if it had to be created."""
    made = await service.token("apply", tenant="staging")
    right = Access(service.url, made, "staging")
    for access in (right, replace(right, tenant=None), replace(right, tenant="acme")):
        platform = HttpPlatform(access, "ours", patience=QUICK)
        try:
            if access.tenant == "acme":
                with pytest.raises(PlatformUnavailable, match="not of the tenant"):
                    await platform.read()
            else:
                assert (await platform.read()).gateways == ()
        finally:
            await platform.close()
