"""Header lines and the parts of a body, as bytes that every server takes: ASCII, short lines."""

import binascii
import re
import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from reconciler.errors import UnfitMessage
from reconciler.messages import Attachment, OutgoingMessage
from reconciler.service.mail.encoding import encoded, refuse_controls

_MAX_LINE: Final = 998  # without its end (RFC 5322 2.1.1)
_MAX_FILE_NAME: Final = 255  # bytes, as file systems have it
_BASE64_LINE: Final = 76
_CONTENT_TYPE: Final = re.compile(
    r"(?!message/|multipart/)[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
    r"(?:; ?charset=[a-z0-9_.:-]{1,40})?",
    re.IGNORECASE,
)
_ANY_END: Final = re.compile("\r\n|\r|\n")
_LF: Final = re.compile(rb"\r?\n")
_PLAIN: Final = rb"[\t\x20-\x7e]{0,%d}" % _MAX_LINE
_PLAIN_LINES: Final = re.compile(rb"(?:%b\r\n)*%b" % (_PLAIN, _PLAIN))


def header(lines: Sequence[tuple[str, str]]) -> bytes:
    """Our own lines and no others, those without a value left out.

    A value that would make a line of its own is a fault of ours: all were checked.
    """
    kept = [f"{name}: {value}\r\n" for name, value in lines if value]
    raw = "".join(kept).encode()
    ends = raw.count(b"\r\n")
    lone = raw.count(b"\r") != ends or raw.count(b"\n") != ends or b"\0" in raw
    if lone or ends - raw.count(b"\r\n ") != len(kept):  # what begins with a space goes on
        raise RuntimeError("a header would have lines that nobody wrote")
    return raw


def body(message: OutgoingMessage, charset: str) -> bytes:
    """The body with the header lines that say what it is: one part, or several in one."""
    whole = _text("plain", message.text, charset, "text")
    if message.html is not None:
        whole = _multipart("alternative", [whole, _text("html", message.html, charset, "html")])
    if message.attachments:
        attached = [_attached(one, f"attachments.{n}") for n, one in enumerate(message.attachments)]
        whole = _multipart("mixed", [whole, *attached])
    return whole


def _text(subtype: str, text: str, charset: str, field: str) -> bytes:
    if "\0" in text:
        raise UnfitMessage(field, f"character {text.index(chr(0)) + 1} is a NUL")
    raw = encoded(_ANY_END.sub("\r\n", text), charset, field)
    encoding, payload = _transfer(raw)
    return _part(f'text/{subtype}; charset="{charset}"', encoding, payload)


def _transfer(raw: bytes) -> tuple[str, bytes]:
    """How bytes of text travel, so that every server takes them: the shortest of three ways."""
    if _PLAIN_LINES.fullmatch(raw):
        return "7bit", raw
    in_quotes = _LF.sub(b"\r\n", binascii.b2a_qp(raw))
    in_base64 = _base64(raw)
    if len(in_quotes) <= len(in_base64):
        return "quoted-printable", in_quotes
    return "base64", in_base64


def _attached(attachment: Attachment, field: str) -> bytes:
    name, kind = attachment.name, attachment.content_type
    refuse_controls(name, f"{field}.name")
    # percent-encoded UTF-8 (RFC 2231): what every reader of mail understands, in any charset
    raw = encoded(name, "UTF-8", f"{field}.name")
    if not name.strip() or len(raw) > _MAX_FILE_NAME or "/" in name or "\\" in name:
        raise UnfitMessage(f"{field}.name", "it is no name of a file, or one that is too long")
    if not _CONTENT_TYPE.fullmatch(kind):
        raise UnfitMessage(
            f"{field}.content_type",
            "it is none that a file can have",
            "for example application/pdf, or application/octet-stream for any file",
        )
    disposition = f"attachment;\r\n filename*=UTF-8''{quote(raw, safe='')}"
    return _part(kind, "base64", _base64(attachment.content), ("Content-Disposition", disposition))


def _base64(raw: bytes) -> bytes:
    line = binascii.b2a_base64(raw, newline=False)
    pieces = (line[at : at + _BASE64_LINE] for at in range(0, len(line), _BASE64_LINE))
    return b"\r\n".join(pieces)


def _part(content_type: str, encoding: str, payload: bytes, *more: tuple[str, str]) -> bytes:
    lines = [("Content-Type", content_type), ("Content-Transfer-Encoding", encoding), *more]
    return header(lines) + b"\r\n" + payload


def _multipart(subtype: str, parts: Sequence[bytes]) -> bytes:
    boundary = f"=_{secrets.token_hex(16)}"  # no encoding of a body has these characters in a row
    head = header([("Content-Type", f'multipart/{subtype}; boundary="{boundary}"')])
    between = f"\r\n--{boundary}".encode()
    return head + b"".join(between + b"\r\n" + part for part in parts) + between + b"--\r\n"
