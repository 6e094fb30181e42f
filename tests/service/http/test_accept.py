"""How many connections the API takes, and what becomes of those that come to nothing."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from reconciler.service.http.accept import NO_LIMITS, Limits, bound
from reconciler.service.http.listen import listening
from reconciler.service.http.routing import Site
from reconciler.service.http.tls import ServerTls
from tests import certs
from tests.service.fleet import service_on
from tests.service.running import Idle

SECONDS = 20.0


@pytest.fixture
def tls(tmp_path: Path) -> ServerTls:
    issued = certs.leaf(certs.ca(), ips=["127.0.0.1"])
    (tmp_path / "own.pem").write_bytes(issued.pem)
    (tmp_path / "own.key").write_bytes(issued.key_pem)
    return ServerTls(tmp_path / "own.pem", tmp_path / "own.key")


@asynccontextmanager
async def listener(
    folder: Path, tls: ServerTls | None = None, limits: Limits = NO_LIMITS
) -> AsyncIterator[tuple[str, int]]:
    """Where a service listens."""
    async with service_on(folder) as service:
        sock = bound("127.0.0.1", 0)
        where = sock.getsockname()
        async with listening(Site(service, Idle(service)), sock, tls=tls, limits=limits):
            yield where


async def connected(where: tuple[str, int]) -> tuple[asyncio.StreamReader, Any]:
    return await asyncio.wait_for(asyncio.open_connection(*where), SECONDS)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), SECONDS)
    except ConnectionResetError:
        return b""


async def test_one_too_many_is_sent_away_and_told_when_to_come_back(tmp_path: Path) -> None:
    """G33."""
    async with listener(tmp_path, limits=Limits(2, float("inf"))) as where:
        held = [await connected(where) for _ in range(2)]
        await asyncio.sleep(0.1)
        reader, writer = await connected(where)
        answer = await read_all(reader)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer
        writer.close()
        held.pop()[1].close()
        await asyncio.sleep(0.1)
        async with aiohttp.ClientSession() as http:
            found = await http.get(f"http://{where[0]}:{where[1]}/v1/gateways")
            assert found.status == 401
        held.pop()[1].close()


async def test_a_handshake_that_does_not_come_frees_its_place(
    tmp_path: Path, tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G33: whoever connects and says nothing counts from the first moment, and not for long."""
    monkeypatch.setattr("reconciler.service.http.accept._HANDSHAKE_SECONDS", 0.5)
    async with listener(tmp_path, tls, Limits(2, float("inf"))) as where:
        silent = [await connected(where) for _ in range(2)]
        await asyncio.sleep(0.1)
        reader, writer = await connected(where)
        assert await read_all(reader) == b""
        writer.close()
        for reader, writer in silent:
            assert await read_all(reader) == b""
            writer.close()
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=anybody)) as http:
            found = await http.get(f"https://{where[0]}:{where[1]}/v1/gateways")
            assert found.status == 401


async def test_a_system_without_handles_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G33: EMFILE on accept is asked about twice a second, and not a million times."""
    monkeypatch.setattr("reconciler.service.http.accept._PAUSE_SECONDS", 0.2)
    loop, refused = asyncio.get_running_loop(), 0
    really = loop.sock_accept

    async def no_handle(sock: socket.socket) -> Any:
        nonlocal refused
        connection, address = await really(sock)
        if refused < 3:
            refused += 1
            connection.close()
            raise OSError(errno.EMFILE, "Too many open files")
        return connection, address

    monkeypatch.setattr(loop, "sock_accept", no_handle)
    async with listener(tmp_path) as where:
        for _ in range(3):
            reader, writer = await connected(where)
            assert await read_all(reader) == b""
            writer.close()
        async with aiohttp.ClientSession() as http:
            found = await http.get(f"http://{where[0]}:{where[1]}/v1/gateways")
            assert found.status == 401
    assert refused == 3
