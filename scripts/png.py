"""Smaller PNGs: a browser writes them fast, with all of 24 bits and little compression."""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOURS: Final = 256
_RGB: Final = 3
_TRUE_COLOUR: Final = 2


def smaller(png: bytes) -> bytes:
    """The same picture with 256 colours, which is all that text and flat surfaces need.

    `png` has eight bits a channel, no alpha and no interlacing, as Chromium writes it.
    """
    chunks = list(_chunks(png))
    width, height, depth, kind = struct.unpack(">IIBB", chunks[0][1][:10])
    if (depth, kind) != (8, _TRUE_COLOUR):
        raise ValueError(f"a PNG of depth {depth} and kind {kind} is not one of a browser's")
    rows = _rows(zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT")), width)
    pixels = [[row[at : at + _RGB] for at in range(0, len(row), _RGB)] for row in rows]
    places = _palette(Counter(pixel for row in pixels for pixel in row))
    colours = sorted(set(places.values()))
    index = {colour: colours.index(near) for colour, near in places.items()}
    packed = b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in pixels)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", b"".join(colours)),
            _chunk(b"IDAT", zlib.compress(packed, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _palette(counted: Counter[bytes]) -> Mapping[bytes, bytes]:
    """Each colour's nearest among the most frequent ones."""
    kept = [colour for colour, _ in counted.most_common(_COLOURS)]
    return {colour: min(kept, key=partial(_distance, colour)) for colour in counted}


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(png):
        size, name = struct.unpack(">I4s", png[at : at + 8])
        yield name, png[at + 8 : at + 8 + size]
        at += size + 12


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _rows(raw: bytes, width: int) -> Iterator[bytes]:
    """The rows without their filters (PNG 1.2, 6)."""
    size = width * _RGB
    above = bytes(size)
    for start in range(0, len(raw), size + 1):
        row = bytearray(raw[start + 1 : start + 1 + size])
        for at in range(size):
            left, corner = (row[at - _RGB], above[at - _RGB]) if at >= _RGB else (0, 0)
            row[at] = (row[at] + _guess(raw[start], left, above[at], corner)) & 255
        above = bytes(row)
        yield above


def _guess(kind: int, left: int, above: int, corner: int) -> int:
    match kind:
        case 0:
            return 0
        case 1:
            return left
        case 2:
            return above
        case 3:
            return (left + above) // 2
        case _:
            near = left + above - corner
            return min((left, above, corner), key=lambda one: abs(near - one))
