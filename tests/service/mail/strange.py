"""Mail servers that a test can make behave strangely, command by command."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.model import ProtocolType, ReceiveFrom
from tests.rig.gateways import IMAP, NONE, PASSWORD, make_gateway
from tests.rig.scripted import Peer, ScriptedServer
from tests.service.mail.incoming import Desk, desk

Answer = Callable[[Peer, bytes, str], None]


class StrangeImap:
    """An IMAP server of one mailbox, `messages` by their UIDs; a script for `scripted`.

    `answers` has what a test wants answered otherwise, by the beginning of the command; an answer
    is given the peer, the tag and the rest of the line. `heard` are all commands.
    """

    def __init__(self, messages: dict[int, bytes] | None = None) -> None:
        self.messages = messages or {}
        self.validity: bytes = b"* OK [UIDVALIDITY 7] x\r\n"
        self.uid_next: int | None = None
        self.capabilities = b"IMAP4rev1 AUTH=PLAIN SASL-IR"
        self.answers: dict[str, Answer] = {}
        self.heard: list[str] = []
        self.arrivals: dict[int, str] = {}
        self.arrived = f"{datetime.now(UTC):%d-%b-%Y %H:%M:%S} +0000"

    def __call__(self, peer: Peer) -> None:
        peer.say(b"* OK hello\r\n")
        while line := peer.hear():
            tag, _, rest = line.partition(b" ")
            text = rest.decode("ascii", "replace")
            self.heard.append(text)
            self._find(text)(peer, tag, text)
            if text == "LOGOUT":
                return

    def say_done(self, peer: Peer, tag: bytes, *lines: bytes) -> None:
        peer.say(b"".join(line + b"\r\n" for line in (*lines, tag + b" OK done")))

    def said(self, beginning: str) -> list[str]:
        """The commands that began so."""
        return [text for text in self.heard if text.startswith(beginning)]

    def _find(self, text: str) -> Answer:
        for beginning, answer in self.answers.items():
            if text.startswith(beginning):
                return answer
        for beginning, method in (
            ("CAPABILITY", self.capability),
            ("AUTHENTICATE", self.agree),
            ("EXAMINE", self.examine),
            ("UID SEARCH", self.search),
            ("UID FETCH", self.fetch),
            ("NOOP", self.agree),
            ("LOGOUT", self.agree),
        ):
            if text.startswith(beginning):
                return method
        return self.refuse

    def agree(self, peer: Peer, tag: bytes, _text: str) -> None:
        self.say_done(peer, tag)

    def refuse(self, peer: Peer, tag: bytes, _text: str) -> None:
        peer.say(tag + b" BAD what\r\n")

    def capability(self, peer: Peer, tag: bytes, _text: str) -> None:
        self.say_done(peer, tag, b"* CAPABILITY " + self.capabilities)

    def examine(self, peer: Peer, tag: bytes, _text: str) -> None:
        following = max(self.messages, default=0) + 1 if self.uid_next is None else self.uid_next
        peer.say(b"* %d EXISTS\r\n" % len(self.messages) + self.validity)
        self.say_done(peer, tag, *([b"* OK [UIDNEXT %d] x" % following] if following else []))

    def search(self, peer: Peer, tag: bytes, text: str) -> None:
        found = self.matching(text.removeprefix("UID SEARCH "))
        self.say_done(peer, tag, b"* SEARCH" + b"".join(b" %d" % uid for uid in found))

    def matching(self, keys: str) -> list[int]:
        """What a search finds: by UIDs, by numbers, or everything."""
        uids = sorted(self.messages)
        if keys.startswith("UID "):
            return [uid for uid in uids if _is_in(uid, keys[4:], max(uids, default=0))]
        if re.match(r"\d", keys):
            return [uid for at, uid in enumerate(uids, 1) if _is_in(at, keys, len(uids))]
        return uids

    def fetch(self, peer: Peer, tag: bytes, text: str) -> None:
        wanted = text.split(" ")[2]
        for at, uid in enumerate(sorted(self.messages), 1):
            if _is_in(uid, wanted, max(self.messages)):
                peer.say(b"* %d FETCH (UID %d" % (at, uid) + self.items(uid, text) + b")\r\n")
        self.say_done(peer, tag)

    def items(self, uid: int, text: str) -> bytes:
        raw = self.messages[uid]
        found = b""
        if "RFC822.SIZE" in text:
            found += b" RFC822.SIZE %d" % len(raw)
        if "INTERNALDATE" in text:
            found += b' INTERNALDATE "%s"' % self.arrivals.get(uid, self.arrived).encode()
        if "BODY.PEEK[HEADER]" in text:
            head = raw[: raw.find(b"\r\n\r\n") + 4][:16384]
            found += b" BODY[HEADER]<0> {%d}\r\n" % len(head) + head
        if "BODY.PEEK[]" in text:
            found += b" BODY[] {%d}\r\n" % len(raw) + raw
        return found


def _is_in(number: int, wanted: str, highest: int) -> bool:
    for part in wanted.split(","):
        first, colon, last = part.replace("*", str(highest)).partition(":")
        low, high = sorted((int(first), int(last if colon else first)))
        if low <= number <= high:
            return True
    return False


class StrangePop3:
    """A POP3 server of one maildrop, name and message each; a script for `scripted`."""

    def __init__(self, *messages: tuple[str, bytes]) -> None:
        self.messages = list(messages)
        self.answers: dict[str, Callable[[Peer, str], None]] = {}
        self.heard: list[str] = []

    def __call__(self, peer: Peer) -> None:
        peer.say(b"+OK hello\r\n")
        while line := peer.hear():
            text = line.decode("ascii", "replace")
            self.heard.append(text)
            verb = text.partition(" ")[0]
            self._find(verb)(peer, text)
            if verb == "QUIT":
                return

    def _find(self, verb: str) -> Callable[[Peer, str], None]:
        own: Callable[[Peer, str], None] = getattr(self, f"do_{verb.lower()}", self.no)
        return self.answers.get(verb, own)

    def said(self, verb: str) -> list[str]:
        return [text for text in self.heard if text.startswith(verb)]

    def no(self, peer: Peer, _text: str) -> None:
        peer.say(b"-ERR no\r\n")

    def yes(self, peer: Peer, _text: str) -> None:
        peer.say(b"+OK\r\n")

    do_quit = do_noop = do_auth = yes

    def do_capa(self, peer: Peer, _text: str) -> None:
        peer.say(b"+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n")

    def do_stat(self, peer: Peer, _text: str) -> None:
        peer.say(b"+OK %d 0\r\n" % len(self.messages))

    def do_uidl(self, peer: Peer, _text: str) -> None:
        lines = [b"%d %s\r\n" % (at, name.encode()) for at, (name, _) in self._numbered()]
        peer.say(b"+OK\r\n" + b"".join(lines) + b".\r\n")

    def do_list(self, peer: Peer, _text: str) -> None:
        lines = [b"%d %d\r\n" % (at, len(raw)) for at, (_, raw) in self._numbered()]
        peer.say(b"+OK\r\n" + b"".join(lines) + b".\r\n")

    def do_top(self, peer: Peer, text: str) -> None:
        raw = self.raw(text)
        peer.say(b"+OK\r\n" + stuffed(raw[: raw.find(b"\r\n\r\n") + 4]))

    def do_retr(self, peer: Peer, text: str) -> None:
        peer.say(b"+OK\r\n" + stuffed(self.raw(text)))

    def raw(self, text: str) -> bytes:
        return self.messages[int(text.split(" ")[1]) - 1][1]

    def _numbered(self) -> enumerate[tuple[str, bytes]]:
        return enumerate(self.messages, 1)


def stuffed(raw: bytes) -> bytes:
    body = raw if raw.endswith(b"\r\n") or not raw else raw + b"\r\n"
    return (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


@asynccontextmanager
async def strange_desk(
    running: ScriptedServer, folder: Path, protocol: ProtocolType = IMAP, **fields: Any
) -> AsyncIterator[Desk]:
    """A desk whose gateway takes in everything from a scripted server."""
    settings = {name: fields.pop(name) for name in ("receiving", "deadlines") if name in fields}
    given = {"host": "127.0.0.1", "receive_from": ReceiveFrom.ALL, **fields}
    gateway = make_gateway(protocol, NONE, running.port, **given)
    async with desk(folder, gateway, PASSWORD, **settings) as found:
        yield found
