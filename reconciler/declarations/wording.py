"""What is wrong with a text that has a form of its own: hosts, addresses, names, paths.

Each function takes the text that was refused and gives the message's end and a hint. Text is quoted
with its control characters made visible and cut to a length that fits a line.
"""

import unicodedata
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from reconciler.declarations.yaml_faults import printable

Words = tuple[str, str]

_CLOSE: Final = 0.7
"""Share of letters that two words have in common if one was meant to be the other."""


def quote(text: str) -> str:
    """A text between quotes, safe to print: nothing in it can move a cursor or fill a screen."""
    return f"'{printable(text)}'"


def nearest(
    word: str, known: Mapping[str, str] | tuple[str, ...], *, close: float = _CLOSE
) -> str | None:
    """The known word that was probably meant: compared without case, hyphens and blanks.

    Of a mapping the keys are compared and the value is given.
    """
    meant = dict(known) if isinstance(known, Mapping) else {name: name for name in known}
    plain = {_plain(name): name for name in meant}
    found = get_close_matches(_plain(word[:80]), list(plain), n=1, cutoff=close)
    return meant[plain[found[0]]] if found else None


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")


def host(text: str) -> Words:
    """Why a host is refused. With an @ it is not quoted: a password may stand before that."""
    shown = "" if "@" in text else f" {quote(text)}"
    for found, said, hint in _HOST_FAULTS:
        if found(text):
            return f"{said}{shown}", hint
    if ":" in text:
        return _colon(text, shown)
    if not text.isascii():
        return f"has letters beyond ASCII{shown}", _ascii_host(text)
    if text.endswith("."):
        return f"ends in a dot{shown}", f"write {text.rstrip('.')}"
    if _looks_numeric(text):
        return (
            f"ends in a number and is no IPv4 address{shown}",
            "write four numbers from 0 to 255 without leading zeros, or a host name",
        )
    return (
        f"is neither a host name nor an address{shown}",
        "a host name has labels of letters, digits and hyphens between dots, each at most 63 long",
    )


_HOST_FAULTS: Final[tuple[tuple[Callable[[str], bool], str, str], ...]] = (
    (
        lambda text: "://" in text,
        "holds a scheme",
        "write the host name alone; protocol_type, encryption_mode and port say the rest",
    ),
    (lambda text: "@" in text, "holds an @", "write the host name alone; user_id is the login"),
    (
        lambda text: any(mark.isspace() or not mark.isprintable() for mark in text),
        "holds a space or a control character",
        "write the host name alone, with nothing before or after it",
    ),
    (
        lambda text: "/" in text or "\\" in text,
        "holds a slash",
        "write the host name alone, without a path",
    ),
    (
        lambda text: text.startswith("[") and "]" in text,
        "stands in brackets",
        "write an IPv6 address without brackets; a port goes to the key port",
    ),
    (
        lambda text: "%" in text,
        "has a zone",
        "an address with a zone is known to one machine only; write another address",
    ),
    (
        lambda text: "*" in text,
        "holds a wildcard",
        "a gateway connects to one host; write its name",
    ),
    (
        lambda text: "_" in text,
        "holds an underscore",
        "host names have letters, digits, hyphens and dots only",
    ),
)


def _colon(text: str, shown: str) -> Words:
    name, _, port = text.rpartition(":")
    if port.isdecimal() and ":" not in name:
        return f"holds a port{shown}", f"write host: {name} and port: {port}"
    try:
        IPv6Address(text)
    except AddressValueError:
        return f"is no IPv6 address{shown}", "write it as 2001:db8::25, without brackets"
    return f"is no address{shown}", "write the IPv6 address in its short form"


def _ascii_host(text: str) -> str:
    try:
        return f"write {text.encode('idna').decode()}"
    except UnicodeError:
        return "write the name as it stands in DNS, with xn-- labels"


def _looks_numeric(text: str) -> bool:
    last = text.rpartition(".")[2].lower()
    try:
        IPv4Address(text)
    except AddressValueError:
        return last.isdecimal() or last.startswith("0x")
    return False


def address(text: str) -> Words:
    """Why an email address is refused."""
    shown = quote(text)
    if "<" in text or ">" in text:
        return (
            f"holds a display name: {shown}",
            "write the address alone; the name goes to default_user_name",
        )
    if any(mark in text for mark in ",;"):
        return f"holds more than one address: {shown}", "write one address"
    if any(mark.isspace() or not mark.isprintable() for mark in text):
        return f"holds a space or a control character: {shown}", "write the address alone"
    if text.count("@") != 1:
        said = "has no @" if "@" not in text else "has more than one @"
        return f"{said}: {shown}", "write one address, such as support@example.com"
    if not text.isascii():
        return f"has letters beyond ASCII: {shown}", "write the domain with xn-- labels"
    return f"is no email address: {shown}", "write one address, such as support@example.com"


def certificate_path(text: str) -> Words:
    """Why the path of a certificate file is refused."""
    said, hint = path(text)
    if said or not text:
        return said, hint
    return (
        f"does not end in .pem, .crt or .cer: {quote(text)}",
        "save the certificate as a PEM or DER file with one of these endings",
    )


def path(text: str) -> Words:
    """Why a path is refused; two empty texts where nothing is wrong with it as a path."""
    shown = quote(text)
    if text.startswith(("/", "\\")) or text[1:2] == ":":
        return f"is not relative: {shown}", "write the path relative to where it is declared"
    if ".." in text.split("/"):
        return f"leaves its folder: {shown}", "write a path without '..'"
    if "\\" in text:
        return f"holds a backslash: {shown}", "write / between folders"
    if character(text):
        return f"holds {character(text)}", "rename the file"
    return "", ""


def character(text: str) -> str:
    """The first control character or mark of writing direction in a text, named; "" if none."""
    for position, mark in enumerate(text, 1):
        kind = unicodedata.category(mark)
        if kind in {"Cc", "Zl", "Zp"} or unicodedata.bidirectional(mark) in _STEERING:
            name = unicodedata.name(mark, "a control character")
            shown = "a line break" if mark in "\r\n" else name
            return f"{shown} (U+{ord(mark):04X}) at character {position}"
    return ""


_STEERING: Final = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
