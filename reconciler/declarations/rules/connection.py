"""Rules about where a gateway connects to, and how the connection is protected."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from reconciler.declarations.rules.facts import (
    IMAP,
    NONE,
    POP3,
    SMTP,
    STARTTLS,
    TLS,
    Facts,
    is_local,
    is_meant,
    is_private,
    problem,
)
from reconciler.model import DEFAULT_PORTS, EncryptionMode, Problem, ProtocolType

# which protocol listens there, and whether it starts with TLS (RFC 8314)
WELL_KNOWN_PORTS: Final[Mapping[int, tuple[str, bool]]] = {
    25: (SMTP, False),
    110: (POP3, False),
    143: (IMAP, False),
    465: (SMTP, True),
    587: (SMTP, False),
    993: (IMAP, True),
    995: (POP3, True),
}

# names that no public DNS server answers for (RFC 6761, RFC 6762, RFC 8375, ICANN 2024)
PRIVATE_DOMAINS: Final = (".localhost", ".local", ".internal", ".home.arpa")


def host_not_allowed(facts: Facts) -> Problem | None:
    allowed = facts.context.target.limits.allow_hosts
    if not allowed or any(fnmatchcase(facts.host, pattern.lower()) for pattern in allowed):
        return None
    return problem(
        facts.declared,
        "host",
        "host-not-allowed",
        f"host {facts.host!r} is not among those that target {facts.context.target.name!r} allows",
        f"allowed are {', '.join(allowed)}; the list is allow_hosts in gateways.yaml",
    )


def name_not_allowed(facts: Facts) -> Problem | None:
    allowed = facts.context.target.limits.allow_names
    name = facts.declared.name
    if not allowed or any(fnmatchcase(name, pattern) for pattern in allowed):
        return None
    return problem(
        facts.declared,
        None,
        "name-not-allowed",
        f"name {name!r} is not among those that target {facts.context.target.name!r} allows",
        f"allowed are {', '.join(allowed)}; the list is allow_names in gateways.yaml",
    )


def private_host(facts: Facts) -> Problem | None:
    platform = facts.context.target.platform
    if platform == "embedded":
        return None
    if facts.address is None:
        private = facts.host == "localhost" or facts.host.endswith(PRIVATE_DOMAINS)
    else:
        private = is_private(facts.address)
    if not private:
        return None
    return problem(
        facts.declared,
        "host",
        "private-host",
        f"host {facts.host!r} can be reached from its own network only",
        "give the mail server's public name, or make sure that the platform of target"
        f" {facts.context.target.name!r} is in that network",
    )


def ip_host_with_tls(facts: Facts) -> Problem | None:
    if facts.address is None:
        return None
    return problem(
        facts.declared,
        "host",
        "ip-host-with-tls",
        f"host is an IP address: {facts.encryption} works only if the server's certificate lists"
        " that address",
        "give the host name that the certificate was issued for",
    )


def plaintext_connection(facts: Facts) -> Problem | None:
    return problem(
        facts.declared,
        "encryption_mode",
        "plaintext-connection",
        "encryption_mode NONE sends every mail readable over the network",
        f"write encryption_mode: TLS (port {_port(facts.protocol, TLS)}) and name the"
        " certificate_file",
    )


def plaintext_password(facts: Facts) -> Problem | None:
    if not facts.authentication or is_local(facts):
        return None
    return problem(
        facts.declared,
        "encryption_mode",
        "plaintext-password",
        "encryption_mode NONE sends the password readable over the network",
        f"write encryption_mode: TLS (port {_port(facts.protocol, TLS)}); then change the password"
        " if it was ever used this way",
    )


def unused_certificate(facts: Facts) -> Problem | None:
    if not is_meant(facts, "certificate_file", "encryption_mode"):
        return None
    return problem(
        facts.declared,
        "certificate_file",
        "unused-certificate",
        "certificate_file has no effect while encryption_mode is NONE",
        "write encryption_mode: TLS, or take certificate_file away",
    )


def starttls_connection(facts: Facts) -> Problem | None:
    return problem(
        facts.declared,
        "encryption_mode",
        "starttls-connection",
        "encryption_mode STARTTLS begins in the clear, where an attacker on the way can interfere",
        f"write encryption_mode: TLS (port {_port(facts.protocol, TLS)}) if the server offers it",
    )


def port_encryption_clash(facts: Facts) -> Problem | None:
    port: int = facts.fields.get("port") or 0
    if port not in WELL_KNOWN_PORTS:
        return None
    protocol, starts_with_tls = WELL_KNOWN_PORTS[port]
    if protocol != facts.protocol or starts_with_tls == (facts.encryption == TLS):
        return None
    if starts_with_tls:
        message = f"port {port} expects TLS from the first byte, and encryption_mode is"
        other = TLS
    else:
        message = f"port {port} does not begin with TLS, and encryption_mode is"
        other = STARTTLS
    right = _port(facts.protocol, facts.encryption)
    return problem(
        facts.declared,
        "port",
        "port-encryption-clash",
        f"{message} {facts.encryption}",
        f"{facts.protocol} with {facts.encryption} is on port {right};"
        f" port {port} goes with encryption_mode: {other}",
    )


def port_of_other_protocol(facts: Facts) -> Problem | None:
    """An error where the encryption fits the other protocol too: then it is beyond doubt."""
    port: int = facts.fields.get("port") or 0
    if port not in WELL_KNOWN_PORTS:
        return None
    protocol, starts_with_tls = WELL_KNOWN_PORTS[port]
    if protocol == facts.protocol:
        return None
    beyond_doubt = starts_with_tls == (facts.encryption == TLS)
    right = _port(facts.protocol, facts.encryption)
    return problem(
        facts.declared,
        "port",
        "port-and-encryption-of-other-protocol" if beyond_doubt else "port-of-other-protocol",
        f"port {port} is where {protocol} listens, and protocol_type is {facts.protocol}",
        f"{facts.protocol} with {facts.encryption} is on port {right}",
    )


def is_plaintext(facts: Facts) -> bool:
    return facts.encryption == NONE


def is_starttls(facts: Facts) -> bool:
    return facts.encryption == STARTTLS


def is_encrypted(facts: Facts) -> bool:
    return facts.encryption != NONE


def _port(protocol: str, encryption: str) -> int:
    return DEFAULT_PORTS[ProtocolType(protocol), EncryptionMode(encryption)]
