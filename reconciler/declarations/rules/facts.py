"""What the rules share: where they look things up, and how they say what they found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final, Protocol

from reconciler.declarations.catalogue import code
from reconciler.declarations.certificate_facts import Address
from reconciler.declarations.certificates import CertificateFiles
from reconciler.declarations.declared import Declared
from reconciler.declarations.yaml_faults import dotted
from reconciler.model import EncryptionMode, Place, Problem, ProtocolType, Severity, Target

SMTP: Final = ProtocolType.SMTP.value
POP3: Final = ProtocolType.POP3.value
IMAP: Final = ProtocolType.IMAP.value
NONE: Final = EncryptionMode.NONE.value
TLS: Final = EncryptionMode.TLS.value
STARTTLS: Final = EncryptionMode.STARTTLS.value

SEVERITIES: Final[Mapping[str, Severity]] = {rule.slug: rule.severity for rule in code.RULES}

_DIGITS: Final = frozenset("0123456789")


class SecretPlace(Protocol):
    """A secret as its file shows it without a key."""

    @property
    def place(self) -> Place: ...


class SecretNames(Protocol):
    """The secrets of a target, without their values."""

    @property
    def names(self) -> Mapping[str, SecretPlace]: ...


@dataclass(frozen=True, slots=True)
class Used:
    """The secrets and certificate files that the gateways of a target need."""

    secrets: frozenset[str] = frozenset()
    certificates: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Context:
    """Everything beside the declaration that a rule may look at; `now` is UTC.

    `elsewhere` is what other targets use: it is not called unused here.
    """

    target: Target
    certificates: CertificateFiles
    secrets: SecretNames
    now: datetime
    elsewhere: Used = field(default_factory=Used)


@dataclass(frozen=True, slots=True)
class Facts:
    """One gateway as rules ask about it: defaults filled in, the host in lower case.

    `address` is set where the host is an IP address.
    """

    declared: Declared
    context: Context
    fields: Mapping[str, Any]
    protocol: str
    encryption: str
    host: str
    authentication: bool
    address: Address | None


def facts_of(declared: Declared, context: Context) -> Facts:
    fields = declared.fields
    host = fields["host"].lower()
    return Facts(
        declared,
        context,
        fields,
        fields["protocol_type"],
        fields.get("encryption_mode") or TLS,
        host,
        fields.get("authentication_flag") is not False,
        address_of(host),
    )


def address_of(host: str) -> Address | None:
    """The IP address that a host is. Most hosts are names, and those are not parsed at all."""
    if ":" not in host and (host[:1] not in _DIGITS or host[-1:] not in _DIGITS):
        return None
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_local(facts: Facts) -> bool:
    """Whether the host is the machine itself."""
    if facts.address is not None:
        return _plain(facts.address).is_loopback
    return facts.host == "localhost" or facts.host.endswith(".localhost")


def is_private(address: Address) -> bool:
    """Loopback, private, link-local, shared or reserved: not to be reached over the internet."""
    plain = _plain(address)
    return not plain.is_global or plain.is_multicast


def _plain(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


def problem(declared: Declared, key: str | None, slug: str, message: str, hint: str) -> Problem:
    """A problem of one gateway, at the value of `key` or, without one, at its name."""
    path = dotted(declared.path(key))
    return Problem(declared.place(key), path, slug, SEVERITIES[slug], message, hint)


def is_meant(facts: Facts, key: str, made_useless_by: str) -> bool:
    """Whether a field without effect was set for this gateway, rather than for its neighbours.

    The defaults of a file serve gateways of both directions, so a field that they give is no
    mistake of the one gateway that does not need it.
    """
    if not facts.fields.get(key):
        return False
    own = facts.declared.own
    return key in own or made_useless_by not in own
