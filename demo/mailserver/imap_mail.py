"""What IMAP says about messages: the data of FETCH and the answer of SEARCH. Pure."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from demo.mailserver.imap_syntax import BadSyntax, Token, in_set, is_set
from demo.mailserver.state import Message

SEEN: Final = "\\Seen"
_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)
_SECTION: Final = re.compile(
    r"BODY(?P<peek>\.PEEK)?\[(?P<part>[^\]]*)\](?:<(?P<first>\d{1,10})\.(?P<count>\d{1,10})>)?",
    re.IGNORECASE,
)
_FIELDS: Final = re.compile(r"HEADER\.FIELDS(?P<but>\.NOT)? \((?P<names>[^)]*)\)", re.IGNORECASE)
_SHORT: Final = {
    "RFC822": "BODY[]",
    "RFC822.TEXT": "BODY[TEXT]",
    "RFC822.HEADER": "BODY.PEEK[HEADER]",
}


def fetch_names(token: Token, tag: str) -> list[str]:
    """The data items that a FETCH asks for. Raises BadSyntax."""
    asked = token if isinstance(token, list) else [token]
    names: list[str] = []
    for name in asked:
        if not isinstance(name, str):
            raise BadSyntax(tag, "Invalid FETCH arguments.")
        names += ["FLAGS", "INTERNALDATE", "RFC822.SIZE"] if name.upper() == "FAST" else [name]
    for name in names:
        known = {"UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", *_SHORT}
        if name.upper() not in known and not _SECTION.fullmatch(name):
            raise BadSyntax(tag, f"Unknown parameter: {name}")
    return names


def marks_seen(names: Sequence[str]) -> bool:
    """Whether fetching these data items marks a message as seen."""
    sections = (_SECTION.fullmatch(_SHORT.get(name.upper(), name)) for name in names)
    return any(section is not None and not section["peek"] for section in sections)


def fetched(message: Message, names: Sequence[str], tag: str) -> bytes:
    """The data of one message as it stands between the parentheses of a FETCH response."""
    return b" ".join(_datum(message, name, tag) for name in names)


def _datum(message: Message, name: str, tag: str) -> bytes:
    match name.upper():
        case "UID":
            return f"UID {message.uid}".encode()
        case "FLAGS":
            return f"FLAGS ({' '.join(sorted(message.flags))})".encode()
        case "INTERNALDATE":
            return f'INTERNALDATE "{_date_time(message.received)}"'.encode()
        case "RFC822.SIZE":
            return f"RFC822.SIZE {len(message.raw)}".encode()
        case short if short in _SHORT:
            return _literal(short, _section(message, _SHORT[short], tag))
        case _:
            label = re.sub(r"\.PEEK|\.\d+(?=>$)", "", name, flags=re.IGNORECASE)
            return _literal(label, _section(message, name, tag))


def _literal(label: str, content: bytes) -> bytes:
    return f"{label} {{{len(content)}}}\r\n".encode() + content


def _section(message: Message, name: str, tag: str) -> bytes:
    match = _SECTION.fullmatch(name)
    if match is None:
        raise BadSyntax(tag, f"Unknown parameter: {name}")
    content = _part(message.raw, match["part"], tag)
    if match["first"] is None:
        return content
    first = int(match["first"])
    return content[first : first + int(match["count"])]


def _part(raw: bytes, part: str, tag: str) -> bytes:
    head, blank, body = raw.partition(b"\r\n\r\n")
    match part.upper():
        case "":
            return raw
        case "HEADER":
            return head + blank
        case "TEXT":
            return body
        case _:
            return _chosen_fields(head, part, tag)


def _chosen_fields(head: bytes, part: str, tag: str) -> bytes:
    if chosen := _FIELDS.fullmatch(part):
        names = {name.strip('"').lower() for name in chosen["names"].split()}
        fields = re.split(rb"(?<=\r\n)(?![ \t])", head + b"\r\n")
        wanted = not chosen["but"]
        kept = (field for field in fields if field and (_field_name(field) in names) is wanted)
        return b"".join(kept) + b"\r\n"
    raise BadSyntax(tag, f"Unknown section: {part}")


def _field_name(field: bytes) -> str:
    return field.partition(b":")[0].decode("ascii", "replace").strip().lower()


def _date_time(moment: datetime) -> str:
    return f"{moment.day:2d}-{_MONTHS[moment.month - 1]}-{moment:%Y %H:%M:%S %z}"


def search(messages: Sequence[Message], keys: Sequence[Token], tag: str) -> list[int]:
    """The positions, from 0, of the messages that match all keys. Raises BadSyntax."""
    found = set(range(len(messages)))
    rest = list(keys)
    if len(rest) > 1 and str(rest[0]).upper() == "CHARSET":
        rest = rest[2:]
    if not rest:
        raise BadSyntax(tag, "Missing SEARCH arguments.")
    while rest:
        found &= _matching(messages, rest, tag)
    return sorted(found)


def _matching(messages: Sequence[Message], rest: list[Token], tag: str) -> set[int]:
    """Take one key with its arguments off `rest`."""
    key = _next(rest, tag)
    if isinstance(key, list):
        return set(search(messages, key, tag))
    every = set(range(len(messages)))
    match key.upper():
        case "ALL" | "UNDELETED" | "UNANSWERED" | "UNDRAFT" | "UNFLAGGED":
            found = every
        case "SEEN" | "UNSEEN" as word:
            found = {at for at in every if (SEEN in messages[at].flags) is (word == "SEEN")}
        case "NOT":
            found = every - _matching(messages, rest, tag)
        case "UID":
            uids = in_set(_set(_next(rest, tag), tag), [one.uid for one in messages])
            found = {at for at in every if messages[at].uid in uids}
        case "SINCE":
            since = _day(_next(rest, tag), tag)
            found = {at for at in every if messages[at].received.date() >= since}
        case _:
            found = {number - 1 for number in in_set(_set(key, tag), range(1, len(messages) + 1))}
    return found


def _next(rest: list[Token], tag: str) -> Token:
    if not rest:
        raise BadSyntax(tag, "Missing SEARCH argument.")
    return rest.pop(0)


def _set(token: Token, tag: str) -> str:
    if not isinstance(token, str) or not is_set(token):
        raise BadSyntax(tag, f"Unknown argument: {token}")
    return token


def _day(token: Token, tag: str) -> date:
    parts = re.fullmatch(r"(\d{1,2})-([A-Z][a-z]{2})-(\d{4})", str(token).title())
    try:
        if parts is None:
            raise BadSyntax(tag, "Invalid search date.")
        return date(int(parts[3]), _MONTHS.index(parts[2]) + 1, int(parts[1]))
    except ValueError as error:
        raise BadSyntax(tag, "Invalid search date.") from error
