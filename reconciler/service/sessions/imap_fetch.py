"""The data of a FETCH response (RFC 3501, 7.4.2), as far as a reader of messages asks for it. Pure.

What was not asked for may stand there all the same, and is passed over.
"""

import re
from dataclasses import dataclass
from typing import Final

from reconciler.service.sessions.imap import Response

_FETCH: Final = re.compile(rb"\* \d{1,20} FETCH \(", re.IGNORECASE)
_NAME: Final = re.compile(rb"\s*([A-Za-z0-9.-]+(?:\[[^\]]*\])?(?:<\d+>)?) ")
_VALUE: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"|~?\{(\d+)\+?\}|([^\s()"]+)')
_LITERAL: Final = re.compile(rb"~?\{(\d{1,20})\+?\}$")
_MESSAGE: Final = re.compile(rb"BODY\[\] ~?\{\d+\+?\}$", re.IGNORECASE)
_ESCAPED: Final = re.compile(rb"\\(.)")


@dataclass(frozen=True, slots=True)
class Fetched:
    """One response. `header` and `body` are what stands in it: a body that streams does not."""

    uid: int | None = None
    size: int | None = None
    internal_date: str = ""
    header: bytes = b""
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Announced:
    """Bytes that follow a line; whether they are a whole message."""

    size: int
    is_message: bool


def announced(text: bytes) -> Announced | None:
    """What a line of a response announces at its end."""
    match = _LITERAL.search(text)
    if match is None:
        return None
    is_message = _MESSAGE.search(text) is not None and _FETCH.match(text) is not None
    return Announced(int(match[1]), is_message)


def fetched(response: Response) -> Fetched | None:
    """None for a response of another kind. What makes no sense ends what is read of it."""
    start = _FETCH.match(response.line)
    if start is None:
        return None
    found: dict[bytes, bytes] = {}
    literals = list(response.literals)
    at = start.end()
    while match := _NAME.match(response.line, at):
        name = match[1].upper()
        value, at = _value(response.line, match.end(), literals)
        if value is not None:
            found.setdefault(name.partition(b"<")[0], value)
    return Fetched(
        _number(found.get(b"UID")),
        _number(found.get(b"RFC822.SIZE")),
        found.get(b"INTERNALDATE", b"").decode("ascii", "replace"),
        found.get(b"BODY[HEADER]", b""),
        found.get(b"BODY[]"),
    )


def _value(text: bytes, at: int, literals: list[bytes]) -> tuple[bytes | None, int]:
    """A value and where it ends; of NIL and of a list in parentheses only the end."""
    depth = 0
    value: bytes | None = None
    while at < len(text):
        char = text[at : at + 1]
        if char in b" (":
            depth += char == b"("
            at += 1
        elif char == b")" and depth:
            depth -= 1
            at += 1
        elif match := _VALUE.match(text, at):
            value, at = _content(match, literals), match.end()
        else:
            break
        if not depth and char != b" ":
            break
    return value, at


def _content(match: re.Match[bytes], literals: list[bytes]) -> bytes | None:
    if match[1] is not None:
        return _ESCAPED.sub(rb"\1", match[1])
    if match[2] is not None:
        return literals.pop(0) if literals else b""
    return None if match[3].upper() == b"NIL" else match[3]


def _number(value: bytes | None) -> int | None:
    return int(value) if value and value.isdigit() and len(value) <= len(str(2**63)) else None
