"""What DNS says of a domain's mail: SRV (RFC 6186, RFC 8314), MX, and addresses of hosts.

Answers come from the network and prove nothing: a name that is no host name is dropped, the number
of answers and the time for them are limited.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.resolver

from reconciler import schemas
from reconciler.discovery import Findings, Proposal
from reconciler.model import EncryptionMode, ProtocolType

SECONDS: Final = 5.0
"""For one question, asked of all servers that are known."""

MOST: Final = 8
"""Answers to one question that are looked at."""

SERVICES: Final = {
    ProtocolType.SMTP: (
        ("_submissions._tcp", EncryptionMode.TLS),
        ("_submission._tcp", EncryptionMode.STARTTLS),
    ),
    ProtocolType.IMAP: (
        ("_imaps._tcp", EncryptionMode.TLS),
        ("_imap._tcp", EncryptionMode.STARTTLS),
    ),
    ProtocolType.POP3: (
        ("_pop3s._tcp", EncryptionMode.TLS),
        ("_pop3._tcp", EncryptionMode.STARTTLS),
    ),
}


class DnsSilent(Exception):
    """No server gave an answer that can be used; the message is for people."""


@dataclass(frozen=True, slots=True)
class NameServer:
    """A DNS server of one's own choice."""

    address: str
    port: int = 53


class Records:
    """Asks the system's DNS servers, or the one that is named."""

    def __init__(self, server: NameServer | None = None, *, seconds: float = SECONDS) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        except dns.resolver.NoResolverConfiguration:
            self._resolver = dns.asyncresolver.Resolver(configure=False)  # every question fails
        if server:
            self._resolver.nameservers = [server.address]
            self._resolver.port = server.port
        self._resolver.lifetime = seconds

    async def servers(self, domain: str, protocol: ProtocolType) -> Findings:
        """The servers that the domain names for a protocol; TLS comes before STARTTLS.

        Raises:
            DnsSilent: nobody answers.

        """
        proposals: list[Proposal] = []
        notes: list[str] = []
        refused = 0
        for service, encryption in SERVICES[protocol]:
            name = f"{service}.{domain}"
            answers = await self._ask(name, "SRV")
            ordered = sorted(answers, key=lambda one: (one.priority, -one.weight))
            if [_text(one.target) for one in ordered] == [""]:  # a lone dot (RFC 2782)
                refused += 1
                notes.append(f"SRV {name} says that this is not offered")
                continue
            for one in ordered:
                host = _text(one.target)
                if _is_host(host) and one.port:
                    source = f"SRV {name}"
                    proposals.append(Proposal(protocol, host, one.port, encryption, source))
                else:
                    notes.append(f"SRV {name} names {host!r}, which is no host: left out")
        absent = frozenset({protocol}) if refused and not proposals else frozenset()
        return Findings(tuple(proposals), tuple(notes), absent)

    async def exchanges(self, domain: str) -> tuple[str, ...]:
        """The hosts that take mail for the domain, the preferred ones first.

        Raises:
            DnsSilent: nobody answers.

        """
        found = sorted(await self._ask(domain, "MX"), key=lambda one: one.preference)
        return tuple(host for one in found if _is_host(host := _text(one.exchange)))

    async def addresses(self, host: str) -> tuple[tuple[socket.AddressFamily, str], ...]:
        """The addresses of a host, those of IPv6 first; none if it has none.

        Raises:
            DnsSilent: nobody answers.

        """
        six = [(socket.AF_INET6, one.address) for one in await self._ask(host, "AAAA")]
        four = [(socket.AF_INET, one.address) for one in await self._ask(host, "A")]
        return (*six, *four)

    async def _ask(self, name: str, kind: str) -> Sequence[Any]:
        try:
            answer = await self._resolver.resolve(f"{name}.", kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return ()
        except (dns.exception.DNSException, OSError, ValueError):
            raise DnsSilent(f"no DNS server answers for {name}") from None
        return list(answer.rrset or ())[:MOST]


def _text(name: Any) -> str:
    """A name of DNS as a host is written; bytes that no host has are escaped in it."""
    return str(name.to_text(omit_final_dot=True)).lower() if name.labels != (b"",) else ""


def _is_host(text: str) -> bool:
    return bool(text) and schemas.gate("gateways", "host")(text)
