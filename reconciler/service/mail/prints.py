"""What tells a message from others wherever it is numbered anew, and when it arrived."""

import hashlib
import re
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from typing import Final

from reconciler.clock import stamp

HEADER_BYTES: Final = 16 * 1024
"""How much of a header is looked at: IMAP is asked for no more of it."""

_DATE_LETTERS: Final = 100
_FIELD: Final = re.compile(rb"^(date|received):((?:[^\n]|\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


def print_of(start: bytes) -> str:
    """The print of a message, from its beginning or its header alone.

    Every header counts, also those that servers add on the way: nearly no two messages share all.
    """
    return hashlib.sha256(_header(start)).hexdigest()[:32]


def moment_of(text: str) -> str:
    """A date as mail writes it, as UTC, ISO 8601 with a Z; empty if it is none."""
    try:
        parts = parsedate_tz(text[:_DATE_LETTERS])
        if parts is None:
            return ""
        return stamp(datetime.fromtimestamp(mktime_tz(parts), UTC))
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return ""


def sent_at(start: bytes) -> str:
    """When a message says that it was written; empty if it says nothing that can be read."""
    return moment_of(_first(start, b"date"))


def delivered_at(start: bytes) -> str:
    """When its last server took it, else when it was written; empty if neither can be read."""
    return moment_of(_first(start, b"received").rpartition(";")[2]) or sent_at(start)


def _header(start: bytes) -> bytes:
    header = start[:HEADER_BYTES].replace(b"\r\n", b"\n")
    if header.startswith(b"\n"):
        return b""
    return header.partition(b"\n\n")[0].rstrip(b"\r\n")


def _first(start: bytes, name: bytes) -> str:
    for match in _FIELD.finditer(_header(start)):
        if match[1].lower() == name:
            return " ".join(match[2].decode("ascii", "replace").split())
    return ""
