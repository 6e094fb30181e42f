"""What a list shows of a message, read from its beginning alone.

This runs where everything else runs, on bytes that anybody may have sent. So it reads a bounded
part, each byte of it a bounded number of times, and has an answer for all of them.
"""

import re
from email.utils import getaddresses
from typing import Final

from reconciler.model import Gateway
from reconciler.service.mail.charsets import decoded, header_text, tidy
from reconciler.service.mail.inbox import Summary

HEAD_BYTES: Final = 64 * 1024
"""How much of a message is looked at."""

_WANTED: Final = frozenset({b"from", b"to", b"subject", b"message-id", b"in-reply-to"})
_MAX_VALUE: Final = 8 * 1024
_MAX_TEXT: Final = 2_000
_MAX_ADDRESS: Final = 320  # RFC 3696: 64 for the local part, 255 for the domain, and @
_MAX_RECIPIENTS: Final = 100
_NAME: Final = re.compile(rb"[!-9;-~]+[ \t]*")
_ID: Final = re.compile(r"<[^<>\s]{1,990}>")
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
"""ASCII letters and no others: the small form of some letters has another length."""


def summary_of(head: bytes, gateway: Gateway) -> Summary:
    """Read the first HEAD_BYTES of a message, or all of a shorter one."""
    fields, defects = _fields(head[:HEAD_BYTES])
    charset = gateway.encoding_mode

    def text(name: bytes) -> str:
        found = header_text(fields.get(name, [b""])[0][:_MAX_VALUE], charset)
        return found[:_MAX_TEXT]

    senders = _addresses(fields.get(b"from", []), charset)
    sender = next(iter(senders), "")
    if len(fields.get(b"from", [])) > 1:
        defects.append("more than one From")
    if not sender:
        defects.append("no sender's address")
    elif len(senders) > 1:
        defects.append("more than one sender")
    recipients = _addresses(fields.get(b"to", []), charset)
    if len(recipients) > _MAX_RECIPIENTS:
        defects.append(f"more than {_MAX_RECIPIENTS} recipients")
    return Summary(
        sender if gateway.case_sensitivity else sender.translate(_LOWER),
        tuple(recipients[:_MAX_RECIPIENTS]),
        text(b"subject"),
        _identifier(text(b"message-id")),
        _identifier(text(b"in-reply-to")),
        tuple(defects),
    )


def _fields(head: bytes) -> tuple[dict[bytes, list[bytes]], list[str]]:
    """The values of the wanted headers, unfolded, and what is wrong with the header as a whole."""
    found: dict[bytes, list[bytes]] = {}
    current: list[bytes] = []
    strange = whole = False
    for line in head.split(b"\n"):
        bare = line.removesuffix(b"\r")
        if not bare:
            whole = True
            break
        if bare[:1] in b" \t":
            if current:
                current[-1] += b" " + bare.strip(b" \t")
            continue
        name, colon, value = bare.partition(b":")
        known = name.strip(b" \t").lower()
        current = found.setdefault(known, []) if known in _WANTED and colon else []
        if known in _WANTED and colon:
            current.append(value.strip(b" \t"))
        elif not (colon and _NAME.fullmatch(name)) and not bare.startswith(b"From "):
            strange = True
    defects = ["a header line that is none"] if strange else []
    if not whole and len(head) == HEAD_BYTES:
        defects.append(f"a header longer than {HEAD_BYTES // 1024} KiB")
    return found, defects


def _addresses(values: list[bytes], charset: str) -> list[str]:
    """The addresses of a header. Encoded words in it are names, and never addresses."""
    found = []
    for value in values[: _MAX_RECIPIENTS + 1]:
        text = tidy(decoded(value[:_MAX_VALUE], "", charset))
        try:
            pairs = getaddresses([text])
        except (ValueError, IndexError, TypeError, RecursionError):
            continue
        found += [address for _, address in pairs if _is_address(address)]
    return found


def _is_address(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    fits = len(text) <= _MAX_ADDRESS and text.isprintable()
    return bool(local and at and domain) and fits


def _identifier(text: str) -> str:
    match = _ID.search(text)
    return match[0] if match else ""
