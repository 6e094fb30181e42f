"""A bare aiohttp server that knows nothing and asks nobody: `python -m bench.api_peer FOLDER`.

GET /v1/gateways/{name} brings the file `one`, and GET /v1/gateways?cursor=NEXT the file
`page-NEXT`, each from memory. It prints its port, and ends with its input.
"""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web


async def serve(files: Mapping[str, bytes]) -> None:
    async def one(_request: web.Request) -> web.Response:
        return web.Response(body=files["one"], content_type="application/json")

    async def page(request: web.Request) -> web.Response:
        name = f"page-{request.query.get('cursor', '')}"
        return web.Response(body=files[name], content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/gateways/{name}", one)
    app.router.add_get("/v1/gateways", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve({path.name: path.read_bytes() for path in Path(sys.argv[1]).iterdir()}))
