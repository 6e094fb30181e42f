"""From what somebody wants to send to the bytes that a server is handed. Pure.

Every line is written here, from values that were checked. The standard library's `email` is what
the result is tested with and not what makes it: it takes each header apart and writes it anew, at a
millisecond a message, always in UTF-8 words, and lines could be smuggled in (CVE-2024-6923,
CVE-2026-1299).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from reconciler.errors import UnfitMessage
from reconciler.messages import MessageKind, OutgoingMessage
from reconciler.service.mail.addresses import Address, parse_address
from reconciler.service.mail.encoding import folded, header_text
from reconciler.service.mail.parts import body, header
from reconciler.service.mail.settings import MessageLimits

_MAX_SUBJECT: Final = 998
_MAX_REFERENCES: Final = 100
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,900}>")


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What a gateway declares of its messages: from which address, by whom, in which charset."""

    address: str
    name: str | None
    charset: str


@dataclass(frozen=True, slots=True)
class Composed:
    """A message ready to be handed over: its envelope, and its bytes with CRLF line ends.

    `utf8` says that a server must offer SMTPUTF8 to take it.
    """

    sender: str
    recipients: tuple[str, ...]
    message_id: str
    content: bytes
    utf8: bool = False


def compose(
    head: Letterhead, message: OutgoingMessage, limits: MessageLimits, *, unique: str, now: datetime
) -> Composed:
    """Make the message; `unique` is what its Message-ID is made of, unless one is given.

    Raises:
        UnfitMessage: it cannot be sent as it is.

    """
    sender, written = _from(head, message.kind)
    if len(message.to) + len(message.cc) + len(message.bcc) > limits.recipients:
        raise UnfitMessage(
            "to", f"more than {limits.recipients} recipients", "send it to fewer at once"
        )
    to, cc, bcc = (
        [parse_address(text, f"{field}.{number}") for number, text in enumerate(given)]
        for field, given in (("to", message.to), ("cc", message.cc), ("bcc", message.bcc))
    )
    recipients = tuple({one.identity: one.text for one in (*to, *cc, *bcc)}.values())
    if not recipients:
        raise UnfitMessage("to", "there is nobody to send it to", "name a recipient")
    reply_to = parse_address(message.reply_to, "reply_to") if message.reply_to else None
    message_id = _message_id(message.message_id, "message_id") or f"<{unique}@{sender.domain}>"
    lines = [
        ("Date", _date(now.replace(microsecond=0))),
        ("From", written),
        ("To", _mailboxes(to) if to or cc else "undisclosed-recipients:;"),
        ("Cc", _mailboxes(cc)),
        ("Reply-To", reply_to.text if reply_to else ""),
        ("Subject", _subject(message.subject, head.charset)),
        ("Message-ID", message_id),
        *_thread(message),
        # so that no other program answers it by itself (RFC 3834 5)
        ("Auto-Submitted", "auto-generated" if message.kind is MessageKind.NOTIFICATION else ""),
        ("MIME-Version", "1.0"),
    ]
    content = header(lines) + body(message, head.charset)
    if len(content) > limits.size:
        raise UnfitMessage(
            "attachments" if message.attachments else "text",
            f"the message has {len(content):,} bytes, more than {limits.size:,}",
            "attachments grow by a third on their way",
        )
    utf8 = any(one.utf8 for one in (*to, *cc, *bcc, *([reply_to] if reply_to else [])))
    return Composed(sender.text, recipients, message_id, content, utf8)


@lru_cache(maxsize=16)
def _date(second: datetime) -> str:
    return format_datetime(second)


@lru_cache(maxsize=1024)  # one for each gateway that sends much
def _from(head: Letterhead, kind: MessageKind) -> tuple[Address, str]:
    """The declared name stands before the address of an agent's mail, and of no notification's."""
    sender = parse_address(head.address, "default_email_address")
    if not head.name or kind is MessageKind.NOTIFICATION:
        return sender, sender.text
    written = header_text(head.name, head.charset, "default_user_name")
    if head.name.isascii() and "=?" not in head.name:
        written = '"' + re.sub(r'(["\\])', r"\\\1", head.name) + '"'
    return sender, f"{written}\r\n <{sender.text}>"


def _subject(subject: str, charset: str) -> str:
    if len(subject) > _MAX_SUBJECT:
        raise UnfitMessage("subject", f"it is longer than {_MAX_SUBJECT} characters")
    return header_text(subject, charset, "subject") if subject else ""


def _mailboxes(addresses: Sequence[Address]) -> str:
    *others, last = [one.text for one in addresses] or [""]
    return folded([*(f"{one}," for one in others), last])


def _thread(message: OutgoingMessage) -> Iterator[tuple[str, str]]:
    """The headers that make a conversation of messages (RFC 5322 3.6.4)."""
    answered = _message_id(message.in_reply_to, "in_reply_to")
    if len(message.references) > _MAX_REFERENCES:
        raise UnfitMessage(
            "references", f"more than {_MAX_REFERENCES}", "keep the first and the newest"
        )
    earlier = [
        _message_id(one, f"references.{number}") for number, one in enumerate(message.references)
    ]
    if answered and answered not in earlier:
        earlier.append(answered)
    yield "In-Reply-To", answered
    yield "References", "\r\n ".join(earlier)


def _message_id(text: str | None, field: str) -> str:
    if text and not _MESSAGE_ID.fullmatch(text):
        raise UnfitMessage(
            field, "it is no Message-ID", "write it as in the message: <…@example.com>"
        )
    return text or ""
