"""Asks for gateways over HTTP, as fast as they come, and prints how many came in a second.

`python -m bench.api_load ORIGIN COUNT CONNECTIONS GATEWAYS`: each connection asks for one gateway
after another, with one of the tokens that are in GATEWAYS_TOKEN. It does little more than count: a
whole HTTP client takes longer than what is measured.
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from time import perf_counter
from typing import Final
from urllib.parse import urlsplit

from bench.service import TOKEN_VARIABLE

_LENGTH: Final = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n", re.IGNORECASE)
_END: Final = b"\r\n\r\n"


class Asking(asyncio.Protocol):
    """One connection; `done` says when it has no more questions, or what went wrong."""

    def __init__(self, questions: Iterator[bytes]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._questions = questions
        self._answer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - TCP is
        self._transport = transport

    def ask(self) -> None:
        assert self._transport  # noqa: S101 - it was connected
        question = next(self._questions, None)
        if question:
            self._transport.write(question)
        elif not self.done.done():
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = self._answer.find(_END)
        if head < 0:
            return
        length = _LENGTH.search(self._answer, 0, head + len(_END))
        if not self._answer.startswith(b"HTTP/1.1 200 ") or length is None:
            self.connection_lost(ValueError(self._answer[:200]))
        elif len(self._answer) == head + len(_END) + int(length[1]):
            self._answer = b""
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed"))


def _same(connection: Asking) -> Asking:
    """What asyncio calls to make a connection's protocol."""
    return connection


async def rate(port: int, count: int, tokens: list[str], gateways: int) -> float:
    """Answers a second. The connections are there already when it begins."""
    numbers = islice(cycle(range(gateways)), count)

    def questions(token: str) -> Iterator[bytes]:
        for number in numbers:
            yield (
                f"GET /v1/gateways/gateway-{number:06} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                f"Authorization: Bearer {token}\r\nAccept: application/json\r\n\r\n"
            ).encode()

    loop = asyncio.get_running_loop()
    connections = [Asking(questions(token)) for token in tokens]
    for connection in connections:
        await loop.create_connection(partial(_same, connection), "127.0.0.1", port)
    start = perf_counter()
    for connection in connections:
        connection.ask()
    await asyncio.gather(*(connection.done for connection in connections))
    return count / (perf_counter() - start)


def main() -> None:
    address = urlsplit(sys.argv[1])
    count, connections, gateways = map(int, sys.argv[2:5])
    tokens = islice(cycle(os.environ[TOKEN_VARIABLE].split()), connections)
    print(asyncio.run(rate(address.port or 80, count, list(tokens), gateways)))


if __name__ == "__main__":
    main()
