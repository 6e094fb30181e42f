"""POP3 (RFC 1939, 2449, 2595, 5034), as Dovecot answers it, with the exclusive maildrop lock."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from demo.mailserver.session import Session, decode_plain, dot_stuffed
from demo.mailserver.state import Login, Mailbox, Message
from demo.mailserver.wire import LineTooLong

_CLEAR: Final = (
    "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections."
)
_REFUSAL: Final = {
    Login.REFUSED: "-ERR [AUTH] Authentication failed.",
    Login.BUSY: "-ERR [SYS/TEMP] Temporary authentication failure.",
}


class Pop3Session(Session):
    _named: str | None = None
    _mailbox: Mailbox | None = None
    _messages: tuple[Message, ...] = ()
    _marked: frozenset[int] = frozenset()

    async def greet(self) -> None:
        if self.faults.busy_greeting:
            self.ended = True
            await self._refuse("[SYS/TEMP] Service currently unavailable, try again later.")
            return
        await self._agree("Ready.")

    async def command(self) -> None:
        try:
            line = (await self.wire.read_line()).decode()
        except (LineTooLong, UnicodeDecodeError):
            self.ended = True
            await self._refuse("Input line too long or not UTF-8.")
            return
        verb, _, rest = line.partition(" ")
        table = _BEFORE_LOGIN if self._mailbox is None else _AFTER_LOGIN
        if handler := _ALWAYS.get(verb.upper()) or table.get(verb.upper()):
            await handler(self, rest)
        else:
            await self._refuse("Unknown command.")

    def release(self) -> None:
        if self._mailbox is not None:
            self._mailbox.drop_locked = False

    async def _agree(self, text: str = "") -> None:
        await self.wire.send_line(f"+OK {text}".rstrip())

    async def _refuse(self, text: str) -> None:
        await self.wire.send_line(f"-ERR {text}")

    async def _list(self, lines: list[str]) -> None:
        await self.wire.send("".join(f"{line}\r\n" for line in ["+OK", *lines, "."]).encode())

    async def do_capabilities(self, _rest: str) -> None:
        offers = ["TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE"]
        if self.offers_starttls:
            offers.append("STLS")
        if self.offers_login:
            offers += ["USER", "SASL PLAIN"]
        await self._list(offers)

    async def do_start_tls(self, _rest: str) -> None:
        if not self.offers_starttls:
            await self._refuse("TLS support isn't enabled.")
        elif self.faults.refuse_starttls:
            await self._refuse("[SYS/TEMP] TLS initialization failed.")
        else:
            await self._agree("Begin TLS negotiation now.")
            self._named = None
            await self.wire.start_tls(self.tls_context())

    async def do_user(self, rest: str) -> None:
        if not self.offers_login:
            await self._no_login()
        else:
            self._named = rest
            await self._agree()

    async def do_password(self, rest: str) -> None:
        if not self._named:
            await self._refuse("No username given.")
        else:
            await self._log_in(self._named, rest)

    async def do_authenticate(self, rest: str) -> None:
        mechanism, _, answer = rest.partition(" ")
        if not self.offers_login:
            await self._no_login()
            return
        if mechanism.upper() != "PLAIN":
            await self._refuse("[AUTH] Unsupported authentication mechanism.")
            return
        if not answer:
            await self.wire.send_line("+ ")
            answer = (await self.wire.read_line()).decode(errors="replace")
        credentials = decode_plain(answer)
        if credentials is None:
            await self._refuse("Authentication aborted or malformed.")
        else:
            await self._log_in(*credentials)

    async def _no_login(self) -> None:
        clear = self.needs_tls_first and not self.faults.hide_login
        await self.wire.send_line(_CLEAR if clear else "-ERR Unknown command.")

    async def _log_in(self, user: str, password: str) -> None:
        self._named = None
        result = await self.state.login(user, password)
        if result is not Login.OK:
            await self.wire.send_line(_REFUSAL[result])
            return
        mailbox = self.state.mailbox(user)
        if mailbox.drop_locked:
            self.ended = True
            await self._refuse("[IN-USE] Mailbox is locked by another POP3 session.")
            return
        mailbox.drop_locked = True
        self.user, self._mailbox, self._messages = user, mailbox, tuple(mailbox.messages)
        await self._agree("Logged in.")

    def _left(self) -> list[tuple[int, Message]]:
        numbered = enumerate(self._messages, 1)
        return [(number, message) for number, message in numbered if number not in self._marked]

    async def _find(self, text: str) -> tuple[int, Message] | None:
        """The message of a number; a refusal is sent, and None given, where there is none."""
        if text.isascii() and text.isdigit():
            for number, message in self._left():
                if number == int(text):
                    return number, message
        await self._refuse("There's no such message.")
        return None

    async def do_stat(self, _rest: str) -> None:
        left = self._left()
        await self._agree(f"{len(left)} {sum(len(message.raw) for _, message in left)}")

    async def _describe(self, rest: str, describe: Callable[[Message], str | int]) -> None:
        if not rest.strip():
            await self._list([f"{number} {describe(message)}" for number, message in self._left()])
        elif found := await self._find(rest.strip()):
            await self._agree(f"{found[0]} {describe(found[1])}")

    async def do_sizes(self, rest: str) -> None:
        await self._describe(rest, lambda message: len(message.raw))

    async def do_unique_ids(self, rest: str) -> None:
        validity = self._mailbox.uid_validity if self._mailbox else 0
        await self._describe(rest, lambda message: f"{message.uid:08x}{validity:08x}")

    async def do_retrieve(self, rest: str) -> None:
        if found := await self._find(rest.strip()):
            raw = found[1].raw
            await self.wire.send(f"+OK {len(raw)} octets\r\n".encode() + dot_stuffed(raw))

    async def do_top(self, rest: str) -> None:
        which, _, count = rest.strip().partition(" ")
        if not (count.strip().isascii() and count.strip().isdigit()):
            await self._refuse("Missing or invalid line count.")
        elif found := await self._find(which):
            head, _, body = found[1].raw.partition(b"\r\n\r\n")
            lines = body.splitlines(keepends=True)[: int(count)]
            await self.wire.send(
                b"+OK\r\n" + dot_stuffed(head + b"\r\n\r\n" + b"".join(lines)),
            )

    async def do_mark(self, rest: str) -> None:
        if found := await self._find(rest.strip()):
            self._marked |= {found[0]}
            await self._agree("Marked to be deleted.")

    async def do_reset(self, _rest: str) -> None:
        self._marked = frozenset()
        await self._agree()

    async def do_noop(self, _rest: str) -> None:
        await self._agree()

    async def do_quit(self, _rest: str) -> None:
        self.ended = True
        if self._mailbox is not None:
            for number in self._marked:
                self._mailbox.messages.remove(self._messages[number - 1])
            self.release()
            self._mailbox = None
        await self._agree("Logging out.")


_Handler = Callable[[Pop3Session, str], Awaitable[None]]
_ALWAYS: Final[Mapping[str, _Handler]] = {
    "CAPA": Pop3Session.do_capabilities,
    "QUIT": Pop3Session.do_quit,
}
_BEFORE_LOGIN: Final[Mapping[str, _Handler]] = {
    "STLS": Pop3Session.do_start_tls,
    "USER": Pop3Session.do_user,
    "PASS": Pop3Session.do_password,
    "AUTH": Pop3Session.do_authenticate,
}
_AFTER_LOGIN: Final[Mapping[str, _Handler]] = {
    "STAT": Pop3Session.do_stat,
    "LIST": Pop3Session.do_sizes,
    "UIDL": Pop3Session.do_unique_ids,
    "RETR": Pop3Session.do_retrieve,
    "TOP": Pop3Session.do_top,
    "DELE": Pop3Session.do_mark,
    "RSET": Pop3Session.do_reset,
    "NOOP": Pop3Session.do_noop,
}
