"""The table of well-known providers: servers that this program knows by itself, with no network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from reconciler.discovery import Findings, Proposal, is_inside
from reconciler.model import EncryptionMode, ProtocolType

TABLE: Final = "providers.yaml"


@dataclass(frozen=True, slots=True)
class Server:
    host: str
    port: int
    encryption: EncryptionMode


@dataclass(frozen=True, slots=True)
class Provider:
    """`domains` are its own, of addresses; `mx` the hosts that its customers' domains point to."""

    name: str
    domains: tuple[str, ...]
    mx: tuple[str, ...]
    servers: Mapping[ProtocolType, Server]
    remark: str

    def findings(self, how: str) -> Findings:
        """All of its servers; `how` says by what it was known."""
        proposals = tuple(
            Proposal(
                protocol,
                server.host,
                server.port,
                server.encryption,
                f"{self.name}, known by {how}",
                authentic=True,
            )
            for protocol, server in self.servers.items()
        )
        notes = (f"{self.name}: {self.remark}",) if self.remark else ()
        return Findings(proposals, notes, frozenset(ProtocolType) - self.servers.keys())


@cache
def providers() -> tuple[Provider, ...]:
    text = (files("reconciler.discovery") / TABLE).read_text("utf-8")
    return tuple(map(_provider, yaml.safe_load(text)))


def of_domain(domain: str) -> Provider | None:
    """The provider whose own domain it is."""
    return next((one for one in providers() if domain in one.domains), None)


def of_mx(hosts: Iterable[str]) -> Provider | None:
    """The provider that a domain's MX records point to, the preferred ones first."""
    return next(
        (
            one
            for host in hosts
            for one in providers()
            if any(is_inside(host, suffix) for suffix in one.mx)
        ),
        None,
    )


def _provider(entry: Mapping[str, Any]) -> Provider:
    servers = {
        protocol: _server(text)
        for protocol in ProtocolType
        if (text := entry.get(protocol.value.lower()))
    }
    return Provider(
        entry["name"],
        tuple(entry.get("domains", ())),
        tuple(entry.get("mx", ())),
        servers,
        entry.get("remark", ""),
    )


def _server(text: str) -> Server:
    address, _, encryption = text.partition(" ")
    host, _, port = address.partition(":")
    return Server(host, int(port), EncryptionMode(encryption or "TLS"))
