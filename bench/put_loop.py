"""Creates gateways over HTTP, and does nothing else.

`python -m bench.put_loop ORIGIN FILE AT_ONCE` sends the bodies that bench.bodies wrote, each once:
the floor for an apply that creates them. The token is in GATEWAYS_TOKEN.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from bench.service import TOKEN_VARIABLE


async def put(origin: str, bodies: Iterator[tuple[str, str]], at_once: int) -> None:
    headers = {
        "Authorization": f"Bearer {os.environ[TOKEN_VARIABLE]}",
        "Content-Type": "application/json",
        "If-None-Match": "*",
    }
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(origin, connector=connector, headers=headers) as session:

        async def work() -> None:
            for name, body in bodies:
                key = {"Idempotency-Key": name}
                path = f"/v1/gateways/{name}"
                async with session.put(path, data=body.encode(), headers=key) as response:
                    answer = await response.json()
                    if response.status != 201:
                        raise SystemExit(str(answer))

        await asyncio.gather(*(work() for _ in range(at_once)))


if __name__ == "__main__":
    bodies = json.loads(Path(sys.argv[2]).read_text())
    asyncio.run(put(sys.argv[1], iter(bodies.items()), int(sys.argv[3])))
