"""Text of mail from its bytes, whatever they say that they are. Never fails, never loops."""

import binascii
import re
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final

_NO_TEXT: Final = frozenset(
    {
        "base64_codec",
        "bz2_codec",
        "hex_codec",
        "mbcs",
        "quopri_codec",
        "rot_13",
        "tactis",
        "uu_codec",
        "zlib_codec",
    }
)
_KNOWN: Final = frozenset(aliases.values()) - _NO_TEXT
_WIDER: Final = {"gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949"}
"""Charsets that are labelled more narrowly than they are used (RFC 5198 knows of no cure)."""

_LABEL: Final = re.compile(r"[^a-z0-9]+")
_WORD: Final = re.compile(r"=\?([!->@-~]{1,80})\?([QqBb])\?([^?]*)\?=")
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+")


def decoded(data: bytes, label: str, fallback: str) -> str:
    """Text in the charset of a label; where that is unknown or missing, in UTF-8 or `fallback`.

    What does not fit is replaced. The result can be written as UTF-8.
    """
    codec = _codec(label[:80])
    if codec is None or codec == "ascii":
        try:
            return data.decode()
        except UnicodeDecodeError:
            codec = _codec(fallback) or "latin_1"
    return data.decode(codec, "replace").encode("utf-8", "replace").decode()


def is_known(label: str) -> bool:
    return _codec(label[:80]) is not None


def header_text(value: bytes, fallback: str) -> str:
    """A header's value in one line, its encoded words (RFC 2047) decoded."""
    text = decoded(value, "", fallback)
    return tidy(_without_words(text, fallback) if "=?" in text else text)


def tidy(text: str) -> str:
    """On one line, without control characters."""
    return _CONTROL.sub(" ", text).strip()


def _without_words(text: str, fallback: str) -> str:
    """Neighbours of one charset are decoded together: a letter may be cut in two between them."""
    parts: list[str] = []
    waiting, charset, end = b"", "", 0
    for match in _WORD.finditer(text):
        between = text[end : match.start()]
        data = _word(match[2], match[3])
        if data is None:
            continue  # it stays as it stands
        label = match[1].partition("*")[0].lower()
        if not (waiting and not between.strip() and label == charset):
            parts.append(decoded(waiting, charset, fallback))
            parts.append(between if between.strip() or not waiting else "")
            waiting, charset = b"", label
        waiting += data
        end = match.end()
    return "".join([*parts, decoded(waiting, charset, fallback), text[end:]])


def _word(encoding: str, text: str) -> bytes | None:
    raw = text.encode("ascii", "replace")
    if encoding in "Qq":
        return binascii.a2b_qp(raw, header=True)
    try:
        return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        return None


@lru_cache(maxsize=512)
def _codec(label: str) -> str | None:
    """The codec for a label.

    Only names from Python's own table are looked up: any other would be remembered for ever.
    """
    name = _LABEL.sub("_", label.lower()).strip("_")
    codec = aliases.get(name, name)
    return _WIDER.get(codec, codec) if codec in _KNOWN else None
