"""A page of gateways as an answer.

A large one is sent piece by piece: many who read at once, and slowly, share what was encoded once.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web

from reconciler.service.http.encoder import Encoded, listed
from reconciler.service.http.routing import Call

JSON: Final = "application/json"
_AT_ONCE: Final = 250
"""Gateways in a piece; about 180 KiB."""


async def send_page(
    call: Call, gateways: Sequence[Encoded], count: int, following: str | None
) -> web.StreamResponse:
    """Answer with one page; `count` is of the whole snapshot, `following` the next cursor."""
    cursor = f'"{following}"' if following else "null"
    end = b"".join(
        (
            b'],"certificates":{',
            listed(gateways),
            f'}},"supervised":true,"count":{count},"next":{cursor}}}'.encode(),
        )
    )
    if len(gateways) <= _AT_ONCE:
        return web.Response(body=b"".join(_pieces(gateways, end)), content_type=JSON)
    response = web.StreamResponse(headers={"Content-Type": JSON})
    response.content_length = sum(map(len, _pieces(gateways, end)))
    try:
        async with asyncio.timeout(call.site.settings.answer_seconds):
            await response.prepare(call.request)
            for piece in _pieces(gateways, end):
                await response.write(piece)
            await response.write_eof()
    except TimeoutError:
        # not closed, which would wait until all is read: his place is another's
        if call.request.transport:
            call.request.transport.abort()
        raise ConnectionError("the answer was not read in time") from None
    return response


def _pieces(gateways: Sequence[Encoded], end: bytes) -> Iterator[bytes]:
    separator = b'{"gateways":['
    for start in range(0, len(gateways), _AT_ONCE):
        yield separator + b",".join([one.data for one in gateways[start : start + _AT_ONCE]])
        separator = b","
    yield (b"" if gateways else separator) + end
