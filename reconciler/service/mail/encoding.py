"""Text in the charset of a gateway: its bytes, and a header's words. Nothing becomes a "?".

A label and the bytes under it must agree for who reads them, which is more than that Python's codec
takes the text: Shift_JIS has one byte for the yen sign and the backslash, and EUC-KR has sequences
that only Python puts together again.
"""

import re
from email.charset import BASE64, Charset
from email.header import Header
from typing import Final

from reconciler.errors import UnfitMessage

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LINE: Final = 76  # an encoded word may have 75 characters, a line of them 76 (RFC 2047 2)
_PLAIN: Final = re.compile(r"[!-~]{1,72}(?: [!-~]{1,72})*")

# Everybody reads GB2312 as its successor GBK, and writes these two so; only the old table of the
# standard, which Python follows, has others under the same two codes.
_SAME_CODE: Final = {"gb2312": str.maketrans("—·", "―・")}

# what everybody else takes a charset for, where Python's codec has codes of its own
_TAKEN_FOR: Final = {"euc-kr": "cp949"}


def encoded(text: str, charset: str, field: str) -> bytes:
    """The bytes of a text.

    Raises:
        UnfitMessage: the charset has no code for one of its characters; says which, and where.

    """
    name = charset.lower()
    written = text.translate(_SAME_CODE[name]) if name in _SAME_CODE else text
    try:
        raw = written.encode(name)
    except UnicodeEncodeError as error:
        raise _unwritable(text, error.start, charset, field) from None
    if name != "utf-8" and not text.isascii():
        _check_readable(text, written, raw, charset, field)
    return raw


def _check_readable(text: str, written: str, raw: bytes, charset: str, field: str) -> None:
    name = charset.lower()
    other = _TAKEN_FOR.get(name, name)
    if raw.decode(name) == written and written.encode(other) == raw:
        return
    for at, char in enumerate(written):
        code = char.encode(name)
        if code.decode(name) != char or char.encode(other) != code:
            raise _unwritable(text, at, charset, field)


def _unwritable(text: str, at: int, charset: str, field: str) -> UnfitMessage:
    return UnfitMessage(
        field,
        f"character {at + 1} ({_named(text[at])}) cannot be written in {charset}",
        "leave it out, or give the gateway encoding_mode UTF-8",
    )


def refuse_controls(text: str, field: str) -> None:
    """Refuse what could end a header's line or hide in one.

    Raises:
        UnfitMessage: there is a control character; says which, and where.

    """
    if found := _CONTROL.search(text):
        raise UnfitMessage(
            field,
            f"character {found.start() + 1} ({_named(found.group())}) is a control character",
            "a header is one line of text",
        )


def header_text(text: str, charset: str, field: str) -> str:
    """Text of a header as it goes out: ASCII, folded where it is long.

    Encoded words (RFC 2047) are in the gateway's charset, like the body. What is plain ASCII stays
    as it is, unless it would be taken for an encoded word or could not be folded.
    """
    refuse_controls(text, field)
    raw = encoded(text, charset, field)
    if "=?" not in text and _PLAIN.fullmatch(text):
        return folded(text.split(" "))
    return Header(raw.decode(charset), _words(charset), _LINE, field).encode(linesep="\r\n")


def folded(words: list[str]) -> str:
    """Words in lines of 78 characters at most, as long as each word is short enough."""
    lines = [words[0]]
    room = _LINE - len("Auto-Submitted: ")  # the longest name of a header that we write
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\r\n ".join(lines)


def _words(charset: str) -> Charset:
    """For encoded words that carry exactly this label, whatever Python would rather call it."""
    words = Charset("utf-8")
    words.input_charset = words.output_charset = charset
    words.input_codec = words.output_codec = charset
    words.header_encoding = BASE64
    return words


def _named(char: str) -> str:
    code = f"U+{ord(char):04X}"
    return f'"{char}", {code}' if char.isprintable() else code
