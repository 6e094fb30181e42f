"""Looks for secrets in whatever a program left, in every form that a program gives to text."""

import base64
import hashlib
import json
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

Form = Callable[[str], Iterator[bytes]]


def _raw(secret: str) -> Iterator[bytes]:
    yield secret.encode()


def _wide(secret: str) -> Iterator[bytes]:
    yield secret.encode("utf-16-le")
    yield secret.encode("utf-16-be")


def _hex(secret: str) -> Iterator[bytes]:
    yield secret.encode().hex().encode()
    yield secret.encode().hex().upper().encode()


def _base64(secret: str) -> Iterator[bytes]:
    """At each of the three offsets, without the characters that depend on what is around."""
    for offset in range(3):
        sealed = base64.b64encode(b"\0" * offset + secret.encode())
        first = -(-offset * 8 // 6)
        last = (offset + len(secret.encode())) * 8 // 6
        yield sealed[first:last]
        yield sealed[first:last].replace(b"+", b"-").replace(b"/", b"_")


def _url(secret: str) -> Iterator[bytes]:
    yield urllib.parse.quote(secret, safe="").encode()
    yield urllib.parse.quote(secret).encode()
    yield urllib.parse.quote_plus(secret).encode()


def _escaped(secret: str) -> Iterator[bytes]:
    """As JSON in both of its ways, and as Python prints text and bytes."""
    yield json.dumps(secret)[1:-1].encode()
    yield json.dumps(secret, ensure_ascii=False)[1:-1].encode()
    yield repr(secret)[1:-1].encode()
    yield repr(secret.encode())[2:-1].encode()


def _digest(secret: str) -> Iterator[bytes]:
    """Without a key, which anybody can guess against."""
    for text in (secret.encode(), secret.encode() + b"\n"):
        for algorithm in ("md5", "sha1", "sha256"):
            digest = hashlib.new(algorithm, text, usedforsecurity=False)
            yield digest.digest()
            yield digest.hexdigest().encode()
            yield digest.hexdigest().upper().encode()
            yield base64.b64encode(digest.digest()).rstrip(b"=")


def _quoted_printable(secret: str) -> Iterator[bytes]:
    yield "".join(
        chr(byte) if 33 <= byte <= 126 and byte != 61 else f"={byte:02X}"
        for byte in secret.encode()
    ).encode()


FORMS: Final[Mapping[str, Form]] = {
    "raw": _raw,
    "UTF-16": _wide,
    "hexadecimal": _hex,
    "base64": _base64,
    "URL": _url,
    "escaped": _escaped,
    "digest": _digest,
    "quoted-printable": _quoted_printable,
}


class Scanner:
    """Finds the secrets, which have names, in bytes and in files."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        needles: dict[bytes, str] = {}
        for name, secret in secrets.items():
            for form, make in FORMS.items():
                for needle in make(secret):
                    needles.setdefault(needle, f"{name} ({form})")
        self._needles = needles
        longest_first = sorted(needles, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))

    def find(self, data: bytes | str) -> list[str]:
        """What was found, by name and form; never the secret itself."""
        text = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        return sorted({self._needles[found[0]] for found in self._pattern.finditer(text)})

    def find_in(self, folder: Path, *, but: frozenset[Path] = frozenset()) -> list[str]:
        """The same for every file below a folder, and for the names of the files."""
        return [
            f"{path.relative_to(folder)}: {found}"
            for path in sorted(folder.rglob("*"))
            if path not in but
            for found in [
                *self.find(path.name),
                *(self.find(path.read_bytes()) if path.is_file() else ()),
            ]
        ]
