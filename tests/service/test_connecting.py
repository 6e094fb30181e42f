"""A host with several addresses is connected to whichever answers first."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

import pytest

from reconciler.service.sessions import SessionError
from reconciler.service.sessions.addresses import Address
from reconciler.service.sessions.connecting import HEAD_START_SECONDS, first_connected


def at(address: str, port: int) -> Address:
    return socket.AF_INET, (address, port)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def hanging() -> Iterator[Address]:
    """An address that never answers: its one place is taken."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.3", 0))
        listening.listen(0)
        with socket.create_connection(listening.getsockname()):
            yield at(*listening.getsockname())


@contextmanager
def refusing() -> Iterator[Address]:
    """An address where nothing listens, for as long as it lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.4", 0))
        yield at(*bound.getsockname())


@contextmanager
def answering(address: str = "127.0.0.1") -> Iterator[Address]:
    """The system answers for a server that listens; it need not say anything."""
    with socket.create_server((address, 0), backlog=100) as listening:
        yield at(*listening.getsockname())


async def connected(*addresses: Address, seconds: float = 5) -> str:
    connection, address = await first_connected(addresses, seconds, inf)
    connection.close()
    return address


async def test_the_first_that_answers_is_taken() -> None:
    with answering("127.0.0.1") as one, answering("127.0.0.2") as other:
        assert await connected(one) == "127.0.0.1"
        assert await connected(one, other) == "127.0.0.1"
        assert await connected(other, one) == "127.0.0.2"


async def test_one_that_refuses_holds_up_nobody() -> None:
    with answering() as fine, refusing() as refused:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await connected(refused, refused, refused, fine) == "127.0.0.1"
        assert loop.time() - began < HEAD_START_SECONDS


async def test_one_that_hangs_holds_up_the_next_for_a_moment() -> None:
    with answering() as fine, hanging() as stuck, refusing() as refused:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await connected(stuck, refused, fine) == "127.0.0.1"
        assert HEAD_START_SECONDS <= loop.time() - began < 2 * HEAD_START_SECONDS


async def test_the_first_ones_fault_is_told() -> None:
    with hanging() as stuck, refusing() as refused:
        with pytest.raises(ConnectionRefusedError):
            await connected(refused, stuck, seconds=0.5)
        with pytest.raises(TimeoutError):
            await connected(stuck, refused, seconds=0.5)
        with pytest.raises(TimeoutError):
            await connected(stuck, stuck, seconds=0.2)


async def test_nothing_is_left_open() -> None:
    """Neither by those that lose, nor when nobody waits any more."""
    with answering() as fine, hanging() as stuck, refusing() as refused:
        await connected(fine)
        before = open_files()
        for _ in range(5):
            connection, _ = await first_connected([stuck, fine], 5, inf)
            assert open_files() == before + 1
            connection.close()
            waiting = asyncio.create_task(connected(stuck, refused, stuck))
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
    assert open_files() <= before


async def test_there_are_no_more_connections_than_files() -> None:
    with answering() as fine:
        for addresses in ([fine], [fine, fine]):
            with pytest.raises(SessionError, match="as many files and connections"):
                await first_connected(addresses, 5, 3)
