"""The pictures of docs/monitoring.md: all that it shows are there and small; how they get so."""

import re
import struct
import zlib
from pathlib import Path

from scripts.png import smaller

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
MOST_BYTES = 150_000


def test_every_picture_is_shown_and_small() -> None:
    text = (DOCS / "monitoring.md").read_text()
    shown = set(re.findall(r"images/([\w-]+\.png)", text))
    assert shown == {path.name for path in (DOCS / "images").glob("monitoring-*.png")}
    assert {"monitoring-light.png", "monitoring-dark.png", "monitoring-phone.png"} <= shown
    for name in shown:
        picture = (DOCS / "images" / name).read_bytes()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(picture) < MOST_BYTES, name


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_a_picture_is_made_smaller_and_looks_the_same() -> None:
    """One row for each of the five filters of PNG, all of them of the same four pixels."""
    pixels = bytes((10, 20, 30, 10, 20, 30, 200, 100, 50, 0, 0, 0))
    nothing = bytes(12)
    left = bytes(
        (pixels[at] - (pixels[at - 3] if at >= 3 else 0)) & 255 for at in range(len(pixels))
    )
    average = bytes(
        (pixels[at] - (((pixels[at - 3] if at >= 3 else 0) + pixels[at]) // 2)) & 255
        for at in range(len(pixels))
    )
    rows = b"\0" + pixels + b"\1" + left + b"\2" + nothing + b"\3" + average + b"\4" + nothing
    size = struct.pack(">IIBBBBB", 4, 5, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size)
    png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    small = smaller(png)
    palette = small.partition(b"PLTE")[2][:9]
    assert palette == bytes((0, 0, 0, 10, 20, 30, 200, 100, 50))
    at = small.index(b"IDAT")
    length = struct.unpack(">I", small[at - 4 : at])[0]
    assert zlib.decompress(small[at + 4 : at + 4 + length]) == bytes((0, 1, 1, 2, 0)) * 5
