"""Reads all gateways of a service and prints the seconds that it took.

`python -m bench.api_read whole ORIGIN` reads them as plan does, into gateways that are checked;
`python -m bench.api_read pages ORIGIN` transfers the same pages with http.client, and looks at
nothing but where the next one is; `… json ORIGIN` has json.loads read them as well.
`… pages ORIGIN FOLDER` keeps them as files, and `… one ORIGIN FOLDER` keeps one gateway. The token
is in GATEWAYS_TOKEN.
"""

import asyncio
import http.client
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Final
from urllib.parse import urlsplit

from bench.service import TOKEN_VARIABLE
from reconciler.model import Place, Target
from reconciler.platforms.http import HttpPlatform
from reconciler.platforms.http_access import access_of
from reconciler.platforms.http_listing import PAGE, PATH

_NEXT: Final = re.compile(rb'"next":"([^"]+)"\}$')
_TAIL: Final = 200


async def read(origin: str) -> None:
    target = Target(
        "bench",
        "http",
        Place("bench"),
        owner="bench",
        declarations="",
        secrets=(),
        url=origin,
        token_env=TOKEN_VARIABLE,
    )
    platform = HttpPlatform(access_of(target, os.environ), "bench")
    start = perf_counter()
    snapshot = await platform.read()
    print(perf_counter() - start)
    print(f"{len(snapshot.gateways)} gateways", file=sys.stderr)
    await platform.close()


class Connection:
    """One connection to a service, over which one request is made after another."""

    def __init__(self, origin: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(origin).netloc)
        self._headers = {"Authorization": f"Bearer {os.environ[TOKEN_VARIABLE]}"}

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise SystemExit(f"{response.status} {body[:500]!r}")
        return body

    def pages(self) -> Mapping[str, bytes]:
        """All pages, by the cursors that lead to them."""
        found: dict[str, bytes] = {}
        query, cursor = f"?limit={PAGE}", ""
        while cursor not in found:
            page = found[cursor] = self.get(PATH + query)
            following = _NEXT.search(page, len(page) - _TAIL)
            if following:
                cursor = following[1].decode()
                query = f"?limit={PAGE}&cursor={cursor}"
        return found


def main() -> None:
    kind, origin, *folders = sys.argv[1:]
    if kind == "whole":
        asyncio.run(read(origin))
        return
    connection = Connection(origin)
    start = perf_counter()
    if kind == "one":
        files = {"one": connection.get(f"{PATH}/gateway-000000")}
    else:
        files = {f"page-{cursor}": page for cursor, page in connection.pages().items()}
    if kind == "json":
        parsed = [json.loads(page) for page in files.values()]
        print(f"{len(parsed)} pages", file=sys.stderr)
    print(perf_counter() - start)
    for folder in map(Path, folders):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
