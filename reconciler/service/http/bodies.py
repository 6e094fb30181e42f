"""Bodies of requests: read in bounds, and JSON without surprises."""

import asyncio
import json
from typing import Any, Final

from aiohttp import web

from reconciler.service.http.problems import Problem

MAX_DEPTH: Final = 32
_TOO_DEEP: Final = f"it is deeper than {MAX_DEPTH} levels"
_JSON: Final = frozenset({"application/json"})


async def read_body(request: web.Request, limit: int, seconds: float) -> bytes:
    """The body of a request, `limit` bytes at most.

    Raises:
        Problem: it is longer, comes too slowly, or is compressed.

    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(415, "invalid", "a compressed body is not read", "send it as it is")
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    pieces = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > limit:
                    raise _too_large(limit)
                pieces.append(piece)
    except TimeoutError:
        raise Problem(
            408,
            "invalid",
            f"the body did not come within {seconds:g} seconds",
            headers={"Connection": "close"},
        ) from None
    return b"".join(pieces)


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        "too-large",
        f"the body is larger than {limit} bytes",
        headers={"Connection": "close"},
    )


def read_json(request: web.Request, body: bytes) -> Any:
    """One JSON value. Messages say where it is wrong, never what stands there.

    Raises:
        Problem: it is no JSON as we read it.

    """
    if request.content_type not in _JSON:
        raise Problem(
            415, "invalid", "the body must be JSON", "send Content-Type: application/json"
        )
    value = _decoded(body)
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _measure(value)
    if b"\\u" in body:
        _look_for_halves(value)
    return value


def _decoded(body: bytes) -> Any:
    try:
        return _JSON_READER.decode(body.decode())
    except UnicodeDecodeError as error:
        why = f"byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        why = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        why = _TOO_DEEP
    except _Refused as error:
        why = str(error)
    except ValueError:
        why = "a number is too long"
    raise _no_json(why)


class _Refused(ValueError):
    """What JSON allows, or Python's reader of it, and we do not. Its message is our own."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("a key stands twice in one object")
    return found


def _refuse_constant(_name: str) -> Any:
    raise _Refused("NaN and Infinity are no numbers")


def _refuse_fraction(_text: str) -> Any:
    raise _Refused("every number is a whole number here")


_JSON_READER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_refuse_fraction
)


def _measure(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    if level:
        raise _no_json(_TOO_DEEP)


def _look_for_halves(value: Any) -> None:
    """Half of a pair of surrogates is written in ASCII, and is no text."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _no_json("a text is no Unicode") from None


def _no_json(why: str) -> Problem:
    return Problem(400, "invalid", f"the body is not JSON as it is read here: {why}")
