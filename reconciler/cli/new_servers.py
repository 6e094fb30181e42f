"""Which servers `gateways new` proposes, and which ones are chosen."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.cli.common import wait_for
from reconciler.cli.new_draft import Server, Surroundings, port_fault
from reconciler.cli.new_form import Form
from reconciler.discovery import Findings, Proposal, is_inside
from reconciler.errors import InvalidInput, WrongUsage
from reconciler.model import DEFAULT_PORTS, EncryptionMode, Gateway, ProtocolType
from reconciler.report.safe import line

if TYPE_CHECKING:
    from reconciler.discovery.records import NameServer, Records
    from reconciler.service.sessions import SessionSettings
    from reconciler.service.sessions.addresses import Address, Resolve

WAYS: Final = {
    ProtocolType.SMTP: "Sending, by SMTP",
    ProtocolType.IMAP: "Receiving, by IMAP",
    ProtocolType.POP3: "Receiving, by POP3",
}
RISK: Final = (
    "encryption_mode NONE sends the password and every mail readable over the network; whoever is"
    " on the way can read and change them"
)
MOST: Final = 6
"""Proposals that are shown for one protocol."""


@dataclass(frozen=True, slots=True)
class Network:
    """How names are looked up: by the system, or by the DNS server of --resolver."""

    server: "NameServer | None" = None

    def records(self) -> "Records":
        from reconciler.discovery.records import Records

        return Records(self.server)

    def resolve(self) -> "Resolve | None":
        """For sessions; None leaves it to the system."""
        if self.server is None:
            return None
        from reconciler.discovery.records import DnsSilent
        from reconciler.service.sessions.addresses import resolve
        from reconciler.service.sessions.failures import dns_failure

        async def by_server(host: str, port: int) -> tuple["Address", ...]:
            if host == "localhost" or _is_address(host):
                return await resolve(host, port)
            try:
                found = await self.records().addresses(host)
            except DnsSilent:
                raise dns_failure(host, socket.gaierror(socket.EAI_AGAIN)) from None
            if not found:
                raise dns_failure(host, socket.gaierror(socket.EAI_NONAME))
            return tuple(
                (family, (text, port) if family is socket.AF_INET else (text, port, 0, 0))
                for family, text in found
            )

        return by_server

    def settings(self) -> "SessionSettings":
        """For what a person has confirmed: private hosts too, whatever the platform."""
        from reconciler.service.sessions import SessionSettings

        return SessionSettings(resolve=self.resolve())

    def brief(self, *, private_hosts: bool) -> "SessionSettings":
        """For names that nobody has confirmed: short waits."""
        from reconciler.service.sessions import Deadlines, SessionSettings

        deadlines = Deadlines(dns=4, connect=4, tls=4, greeting=4, command=4, close=1, overall=10)
        return SessionSettings(deadlines, private_hosts=private_hosts, resolve=self.resolve())


def network_of(resolver: str | None) -> Network:
    """From --resolver ADDRESS[:PORT]. Raises WrongUsage."""
    if resolver is None:
        return Network()
    from reconciler.discovery.records import NameServer

    address, port = resolver, "53"
    if resolver.startswith("["):
        address, _, rest = resolver[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif resolver.count(":") == 1:
        address, _, port = resolver.partition(":")
    if not _is_address(address) or port_fault(port):
        raise WrongUsage(
            f"--resolver {resolver}: this is no address of a DNS server",
            "an IP address, with a port if it is not 53: 192.0.2.53 or [2001:db8::53]:5353",
        )
    return Network(NameServer(address, int(port)))


def discover(
    form: Form,
    domain: str,
    protocols: Sequence[ProtocolType],
    network: Network,
    *,
    private_hosts: bool,
) -> Findings:
    """What the table, DNS and a look at the usual names propose, in this order."""
    from reconciler.discovery import providers
    from reconciler.discovery.records import DnsSilent

    if provider := providers.of_domain(domain):
        return provider.findings("its domain")
    form.tell(f"  asking DNS for the mail servers of {domain} ...")
    try:
        findings = wait_for(_by_dns(domain, protocols, network))
    except DnsSilent as silent:
        return Findings(notes=(f"{silent}: type the servers' names",))
    missing = findings.lacks(protocols)
    if missing:
        form.tell(f"  looking for mail servers at the usual names of {domain} ...")
        brief = network.brief(private_hosts=private_hosts)
        findings = findings.joined(wait_for(_by_probing(form, domain, missing, brief)))
    return findings


async def _by_dns(domain: str, protocols: Sequence[ProtocolType], network: Network) -> Findings:
    """What MX records tell of a known provider comes first: nobody can have made that up."""
    from reconciler.discovery import providers

    records, findings = network.records(), Findings()
    for protocol in protocols:
        findings = findings.joined(await records.servers(domain, protocol))
    provider = providers.of_mx(await records.exchanges(domain))
    return provider.findings("the domain's MX records").joined(findings) if provider else findings


async def _by_probing(
    form: Form, domain: str, protocols: Sequence[ProtocolType], settings: "SessionSettings"
) -> Findings:
    from reconciler.discovery.probe import probe

    is_there = _prober(form, settings)
    found = await asyncio.gather(*(probe(domain, one, is_there) for one in protocols))
    findings = Findings()
    for one in found:
        findings = findings.joined(one)
    return findings


def _prober(form: Form, settings: "SessionSettings") -> Callable[[Proposal], Awaitable[bool]]:
    from reconciler.service.look import look
    from reconciler.service.sessions import SessionError

    async def is_there(one: Proposal) -> bool:
        gateway = Gateway("", one.protocol, one.host, one.port, encryption_mode=one.encryption)
        try:
            await look(gateway, settings)
        except SessionError:
            return False
        form.tell(f"  {one.host}:{one.port} answers")
        return True

    return is_there


def ask_server(
    form: Form, around: Surroundings, protocol: ProtocolType, domain: str, findings: Findings
) -> Server:
    """The server that is chosen, from the proposals or typed."""
    form.head(WAYS[protocol])
    proposals = findings.of(protocol)[:MOST]
    chosen = _pick(form, proposals)
    if chosen is None:
        found = "the domain has none" if protocol in findings.absent else "no server was found"
        if form.yes:
            raise InvalidInput(f"{WAYS[protocol]}: {found}", "run it without --yes, and type one")
        form.tell(f"  {found}")
    if chosen and not chosen.authentic and not is_inside(chosen.host, domain):
        form.warn(
            f"{chosen.host} is outside of {domain}, and DNS answers can be forged:"
            " take it only if it is your provider's"
        )
        if form.yes and not around.target.limits.allow_hosts:
            raise InvalidInput(
                f"{line(chosen.source)} names {line(chosen.host)}, which is outside of {domain},"
                " and nobody is there to confirm it",
                "run it without --yes, or list the host in allow_hosts of the target",
            )
    host = form.text("Host", chosen.host if chosen else "", around.host_fault).lower()
    encryption = _encryption(form, chosen)
    port = DEFAULT_PORTS[protocol, encryption]
    if chosen and (host, encryption) == (chosen.host, chosen.encryption):
        port = chosen.port
    number = int(form.text("Port", str(port), port_fault))
    same = chosen and chosen.place == (host, number, encryption)
    return Server(host, number, encryption, note=chosen.source if chosen and same else "")


def _pick(form: Form, proposals: Sequence[Proposal]) -> Proposal | None:
    for number, one in enumerate(proposals, 1):
        what = f"{one.host}:{one.port} {one.encryption}"
        form.tell(f"  {number}. {line(what)}  ({line(one.source)})")
    if len(proposals) <= 1:
        return proposals[0] if proposals else None
    numbers = [str(number) for number in range(1, len(proposals) + 1)]
    return proposals[int(form.choice("Which one", numbers, "1")) - 1]


def _encryption(form: Form, chosen: Proposal | None) -> EncryptionMode:
    proposal = chosen.encryption if chosen else EncryptionMode.TLS
    while True:
        modes = [one.value for one in (EncryptionMode.TLS, EncryptionMode.STARTTLS)]
        modes.append(EncryptionMode.NONE.value)
        mode = EncryptionMode(form.choice("Encryption", modes, proposal.value))
        if mode is not EncryptionMode.NONE:
            return mode
        form.warn(RISK)
        if form.confirm("Connect without encryption all the same?", proposal=False):
            return mode


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
