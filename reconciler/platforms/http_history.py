"""Reading the audit trail of a service: what was done to some gateways."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import quote

from reconciler.model import Happening
from reconciler.platforms import HISTORY_KEPT
from reconciler.platforms.http_client import Client, Json, Request
from reconciler.wire_reading import happening_from

_AT_ONCE: Final = 8


async def read_history(
    client: Client, names: Collection[str]
) -> Mapping[str, tuple[Happening, ...]]:
    """The latest happenings of each gateway.

    Raises:
        PlatformUnavailable: the service cannot be read.

    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> tuple[Happening, ...]:
        async with turns:
            return await _of(client, name)

    ordered = sorted(names)
    found = await asyncio.gather(*map(one, ordered))
    return {name: happenings for name, happenings in zip(ordered, found, strict=True) if happenings}


async def _of(client: Client, name: str) -> tuple[Happening, ...]:
    query = f"?gateway={quote(name, safe='')}&order=desc&limit={HISTORY_KEPT}"
    return await client.ask(Request("GET", "/v1/audit" + query), lambda data: _page(data, name))


def _page(data: Json, name: str) -> tuple[Happening, ...]:
    entries = data["entries"]
    if len(entries) > HISTORY_KEPT or any(one["gateway"] != name for one in entries):
        raise ValueError(name)
    return tuple(map(happening_from, reversed(entries)))
