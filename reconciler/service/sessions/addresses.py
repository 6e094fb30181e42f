"""From a host to the addresses that may be connected to."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from reconciler.model import FailureKind
from reconciler.service.sessions.failures import dns_failure, fail

MAIL_PORTS: Final = frozenset({25, 110, 143, 465, 587, 993, 995, 2525})

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # carries an IPv4 address (RFC 6052)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out
_RESERVED: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # for protocols; a cloud's own services answer here
            "192.88.99.0/24",  # once relays from IPv6 to IPv4
            "168.63.129.16/32",  # looks public, and is Azure's inside of every machine
            "3fff::/20",  # for documentation
        ),
    )
)
"""What is not public, and what Python's tables do not know as such."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
Resolve = Callable[[str, int], Awaitable[tuple[Address, ...]]]
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


async def resolve(host: str, port: int) -> tuple[Address, ...]:
    """Every address of the host, in the order in which the system prefers them.

    Raises:
        SessionError: kind dns, field host.

    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except (OSError, UnicodeError) as error:  # a label that is too long is a UnicodeError
        raise dns_failure(host, error) from None
    return distinct(found)


def distinct(found: Iterable[tuple[Any, ...]]) -> tuple[Address, ...]:
    """What `getaddrinfo` found, each once."""
    return tuple(dict.fromkeys((family, address) for family, _, _, _, address in found))


def refuse_port(where: str, port: int) -> None:
    """Refuse what is no port of mail servers, before the host is even looked up.

    Raises:
        SessionError: kind tcp, field port.

    """
    if port not in MAIL_PORTS:
        raise fail(
            FailureKind.TCP,
            "port",
            f"{where}: this service connects only to ports of mail servers",
            "use one of " + ", ".join(str(port) for port in sorted(MAIL_PORTS)),
        )


def refuse_private(where: str, addresses: tuple[Address, ...]) -> None:
    """Refuse all if one address is not public: the next look-up may put it first.

    The error is the same for every kind of address, and names none: it must not tell what is there.

    Raises:
        SessionError: kind tcp, field host.

    """
    if not all(is_public(ipaddress.ip_address(str(address[0]))) for _, address in addresses):
        raise fail(
            FailureKind.TCP,
            "host",
            f"{where}: the host has a loopback, private or link-local address",
            "this service connects only to public addresses (serve --private-hosts)",
        )


def is_public(address: IpAddress) -> bool:
    """Whether the address, or the IPv4 address that an IPv6 address carries, is a public one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    reserved = any(address in network for network in _RESERVED)
    return address.is_global and not address.is_multicast and not reserved
