"""Addresses of recipients: parsed once, and never changed but for what the wire demands.

A domain goes out in A-labels. A local part with letters beyond ASCII stays as it is, and asks for a
server that offers SMTPUTF8 (RFC 6531).
"""

import re
from dataclasses import dataclass
from typing import Final

from reconciler.errors import UnfitMessage

_MAX_ADDRESS: Final = 254  # bytes (RFC 5321 4.5.3.1, less the brackets)
_MAX_LOCAL: Final = 64  # bytes
_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\W_]|[\u0300-\u036f]"
_LOCAL: Final = re.compile(rf"(?:{_ATEXT}|\.)+")
_ATOMS: Final = re.compile(rf"(?:{_ATEXT})+(?:\.(?:{_ATEXT})+)*")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)*(?!\d+\Z){_LABEL}")
# IDNA 2003, which Python has, and IDNA 2008, which registries follow, make other names of these
_AMBIGUOUS: Final = re.compile("[ßẞς\u200c\u200d]")


@dataclass(frozen=True, slots=True)
class Address:
    """`text` is how it stands in an envelope or a header; `utf8` says that it is not all ASCII."""

    text: str
    utf8: bool = False

    @property
    def domain(self) -> str:
        return self.text.rpartition("@")[2]

    @property
    def identity(self) -> str:
        """What two ways of writing one address share: only a domain has no case."""
        local, _, domain = self.text.rpartition("@")
        return f"{local}@{domain.lower()}"


def parse_address(text: str, field: str) -> Address:
    """An address alone, without a name.

    Raises:
        UnfitMessage: it is none that mail can be sent to.

    """
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise _unfit(field, "it is no address", "write it as name@example.com")
    if "<" in text or ">" in text:
        raise _unfit(field, "it is more than an address", "give the address alone, without a name")
    if not _LOCAL.fullmatch(local):
        raise _unfit(field, "there is a character before the @ that an address cannot have")
    if not _ATOMS.fullmatch(local):
        local = f'"{local}"'  # some carriers gave out addresses with dots in a row, or at the end
    address = Address(f"{local}@{_ascii_domain(domain, field)}", not local.isascii())
    size = len(address.text.encode())
    if len(local.encode()) > _MAX_LOCAL or size > _MAX_ADDRESS:
        raise _unfit(field, f"it is longer than mail allows ({size} bytes)")
    return address


def _ascii_domain(domain: str, field: str) -> str:
    if not domain.isascii():
        hint = "write the domain in its A-labels (xn--…)"
        if _AMBIGUOUS.search(domain):
            raise _unfit(field, "its domain can be read in two ways", hint)
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            raise _unfit(field, "its domain is no name of a host", hint) from None
    if not _DOMAIN.fullmatch(domain):
        raise _unfit(field, "its domain is no name of a host", "write it as name@example.com")
    return domain


def _unfit(field: str, why: str, hint: str = "") -> UnfitMessage:
    return UnfitMessage(field, why, hint)
