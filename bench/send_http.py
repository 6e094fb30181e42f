"""Sends messages through a gateway over HTTP and prints how many in a second.

`python -m bench.send_http ORIGIN COUNT AT_ONCE`: from the first request until the service says that
none is waiting. The token is in GATEWAYS_TOKEN.
"""

import asyncio
import os
import sys
from time import perf_counter

import aiohttp

from bench.send_ours import NAME, message
from bench.service import TOKEN_VARIABLE
from reconciler.wire_mail import outgoing_data

_POLL_SECONDS = 0.05


async def main(origin: str, count: int, at_once: int) -> None:
    headers = {"Authorization": f"Bearer {os.environ[TOKEN_VARIABLE]}"}
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(origin, connector=connector, headers=headers) as session:
        await send(session, -1, 0, at_once)  # by then the first session is open
        start = perf_counter()
        await send(session, 0, count, at_once)
        print(count / (perf_counter() - start))


async def send(session: aiohttp.ClientSession, first: int, end: int, at_once: int) -> None:
    numbers = iter(range(first, end))

    async def work() -> None:
        for number in numbers:
            key = {"Idempotency-Key": str(number)}
            body = outgoing_data(message(number))
            path = f"/v1/gateways/{NAME}/messages"
            async with session.post(path, json=body, headers=key) as response:
                if response.status != 202:
                    raise SystemExit(await response.text())

    await asyncio.gather(*(work() for _ in range(at_once)))
    while await waiting(session):  # noqa: ASYNC110 - as a client has to
        await asyncio.sleep(_POLL_SECONDS)


async def waiting(session: aiohttp.ClientSession) -> bool:
    path = f"/v1/gateways/{NAME}/outbox?state=queued&limit=1"
    async with session.get(path) as response:
        return bool((await response.json())["messages"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
