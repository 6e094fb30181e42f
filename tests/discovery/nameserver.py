"""A small DNS server on loopback: it answers what it is told to, over UDP, and nothing else."""

import socket
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], Sequence[str]]
"""Name and type to the data of each answer, as in a zone file."""


class NameServer:
    """Answers from `zone`, which may be changed at any time; `asked` are the questions so far.

    A name without any data is NXDOMAIN. A `silent` server reads questions and says nothing; a
    `garbage` one answers with bytes that are no message.
    """

    def __init__(self, zone: Zone, *, silent: bool = False, garbage: bool = False) -> None:
        self.zone = dict(zone)
        self.silent = silent
        self.garbage = garbage
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def address(self) -> str:
        """As --resolver takes it."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.sendto(b"", self._socket.getsockname())  # no question: the end
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, client = self._socket.recvfrom(65535)
            if not wire:
                return
            query = dns.message.from_wire(wire)
            name = query.question[0].name.to_text(omit_final_dot=True).lower()
            kind = dns.rdatatype.to_text(query.question[0].rdtype)
            self.asked.append((name, kind))
            if self.silent:
                continue
            answer = b"no message" if self.garbage else self._answer(query, name, kind)
            self._socket.sendto(answer, client)

    def _answer(self, query: dns.message.Message, name: str, kind: str) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA | dns.flags.RA
        data = self.zone.get((name, kind), ())
        if data:
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", kind, *data))
        elif not any(known == name for known, _ in self.zone):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()
