"""Trying the names that mail servers usually have, where neither the table nor DNS names one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from reconciler.discovery import BEST_FIRST, Findings, Proposal
from reconciler.model import DEFAULT_PORTS, EncryptionMode, ProtocolType

AT_ONCE: Final = 4

NAMES: Final[Mapping[ProtocolType, tuple[str, ...]]] = {
    ProtocolType.SMTP: ("smtp.", "mail.", ""),
    ProtocolType.IMAP: ("imap.", "mail.", ""),
    ProtocolType.POP3: ("pop.", "pop3.", "mail.", ""),
}
"""What stands before the domain, the likeliest first; nothing stands for the domain itself."""

Try = Callable[[Proposal], Awaitable[bool]]
"""Whether a server of that protocol and encryption is there; never raises for what is not."""

Ports = Mapping[tuple[ProtocolType, EncryptionMode], int]


async def probe(
    domain: str, protocol: ProtocolType, is_there: Try, *, ports: Ports = DEFAULT_PORTS
) -> Findings:
    """The servers of a domain at their usual names and ports, with TLS, or else with STARTTLS.

    A few are tried at once; no other port is.
    """
    free = asyncio.Semaphore(AT_ONCE)

    async def tried(one: Proposal) -> bool:
        async with free:
            return await is_there(one)

    for encryption in BEST_FIRST:
        port = ports[protocol, encryption]
        hosts = [f"{start}{domain}" for start in NAMES[protocol]]
        guesses = [Proposal(protocol, host, port, encryption, "it answers there") for host in hosts]
        answers = await asyncio.gather(*map(tried, guesses))
        found = tuple(one for one, there in zip(guesses, answers, strict=True) if there)
        if found:
            return Findings(found)
    return Findings()
