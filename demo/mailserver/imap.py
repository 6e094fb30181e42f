"""IMAP4rev1 (RFC 3501, 2177, 4959, 7888), as Dovecot answers it; each account has an INBOX."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from demo.mailserver import imap_mail
from demo.mailserver.imap_syntax import BadSyntax, Command, Token, in_set, is_set, read_command
from demo.mailserver.session import Session, decode_plain
from demo.mailserver.state import Login, Mailbox, Message
from demo.mailserver.wire import LineTooLong

_FLAGS: Final = r"\Answered \Flagged \Deleted \Seen \Draft"
_CLEAR: Final = "Plaintext authentication disallowed on non-secure (SSL/TLS) connections."
_REFUSAL: Final = {
    Login.REFUSED: "[AUTHENTICATIONFAILED] Authentication failed.",
    Login.BUSY: "[UNAVAILABLE] Temporary authentication failure.",
}


class ImapSession(Session):
    _mailbox: Mailbox | None = None
    _view: list[Message]
    _selected = False
    _read_only = False

    async def greet(self) -> None:
        if self.faults.busy_greeting:
            self.ended = True
            await self.wire.send_line("* BYE [UNAVAILABLE] Service currently unavailable.")
            return
        await self.wire.send_line(f"* OK [CAPABILITY {self._capabilities()}] Ready.")

    async def command(self) -> None:
        try:
            command = await read_command(self.wire)
            await self._handler(command)(self, command)
        except LineTooLong:
            self.ended = True
            await self.wire.send_line("* BYE Input line too long.")
        except BadSyntax as error:
            await self.wire.send_line(f"{error.tag} BAD Error in IMAP command: {error.message}")

    def release(self) -> None:
        self._selected = False

    def _handler(self, command: Command) -> "_Handler":
        tables = [_ALWAYS, _AFTER_LOGIN if self.user else _BEFORE_LOGIN]
        if self._selected:
            tables.append(_SELECTED)
        for table in tables:
            if handler := table.get(command.verb):
                return handler
        raise BadSyntax(command.tag, "Unknown command.")

    def _capabilities(self) -> str:
        offers = ["IMAP4rev1", "SASL-IR", "ID", "IDLE", "LITERAL+"]
        if self.user:
            return " ".join([*offers, "UNSELECT"])
        if self.offers_starttls:
            offers.append("STARTTLS")
        offers.append("AUTH=PLAIN" if self.offers_login else "LOGINDISABLED")
        return " ".join(offers)

    async def _done(self, command: Command, text: str) -> None:
        """Tell of new mail first, then that the command is completed."""
        if self._selected:
            await self._tell_news()
        await self.wire.send_line(f"{command.tag} OK {text}")

    async def _no(self, command: Command, text: str) -> None:
        await self.wire.send_line(f"{command.tag} NO {text}")

    async def do_capability(self, command: Command) -> None:
        await self.wire.send_line(f"* CAPABILITY {self._capabilities()}")
        await self._done(command, "Capability completed.")

    async def do_noop(self, command: Command) -> None:
        if self._selected:
            await self._tell_removals()
        await self._done(command, f"{command.verb.capitalize()} completed.")

    async def do_id(self, command: Command) -> None:
        await self.wire.send_line('* ID ("name" "demo")')
        await self._done(command, "ID completed.")

    async def do_logout(self, command: Command) -> None:
        self.ended = True
        await self.wire.send_line("* BYE Logging out")
        await self.wire.send_line(f"{command.tag} OK Logout completed.")

    async def do_start_tls(self, command: Command) -> None:
        if not self.offers_starttls:
            await self.wire.send_line(f"{command.tag} BAD TLS support isn't enabled.")
        elif self.faults.refuse_starttls:
            await self._no(command, "[UNAVAILABLE] TLS initialization failed.")
        else:
            await self._done(command, "Begin TLS negotiation now.")
            await self.wire.start_tls(self.tls_context())

    async def do_login(self, command: Command) -> None:
        user, password = command.words(2)
        if self.offers_login:
            await self._log_in(command, user, password)
        else:
            await self._no(command, f"[PRIVACYREQUIRED] {_CLEAR}")

    async def do_authenticate(self, command: Command) -> None:
        if not self.offers_login:
            await self._no(command, f"[PRIVACYREQUIRED] {_CLEAR}")
            return
        words = [word for word in command.arguments if isinstance(word, str)]
        if not words or words[0].upper() != "PLAIN":
            await self._no(command, "[CANNOT] Unsupported authentication mechanism.")
            return
        if len(words) > 1:
            answer = words[1].encode()
        else:
            await self.wire.send_line("+ ")
            answer = await self.wire.read_line()
        credentials = decode_plain(answer)
        if credentials is None:
            raise BadSyntax(command.tag, "Authentication aborted or malformed.")
        await self._log_in(command, *credentials)

    async def _log_in(self, command: Command, user: str, password: str) -> None:
        result = await self.state.login(user, password)
        if result is not Login.OK:
            await self._no(command, _REFUSAL[result])
            return
        self.user, self._mailbox = user, self.state.mailbox(user)
        await self._done(command, f"[CAPABILITY {self._capabilities()}] Logged in")

    async def do_list(self, command: Command) -> None:
        _, pattern = command.words(2)
        if not pattern:
            await self.wire.send_line('* LIST (\\Noselect) "." ""')
        elif pattern.upper() in {"*", "%", "INBOX"}:
            await self.wire.send_line('* LIST (\\HasNoChildren) "." INBOX')
        await self._done(command, "List completed.")

    async def do_status(self, command: Command) -> None:
        mailbox = self._inbox(command.arguments[0] if command.arguments else "")
        asked = command.arguments[1] if len(command.arguments) > 1 else []
        if mailbox is None:
            await self._no(command, "[NONEXISTENT] Mailbox doesn't exist.")
            return
        figures = {
            "MESSAGES": len(mailbox.messages),
            "RECENT": 0,
            "UIDNEXT": mailbox.uid_next,
            "UIDVALIDITY": mailbox.uid_validity,
            "UNSEEN": sum(imap_mail.SEEN not in one.flags for one in mailbox.messages),
        }
        names = [str(name).upper() for name in asked if str(name).upper() in figures]
        text = " ".join(f"{name} {figures[name]}" for name in names)
        await self.wire.send_line(f"* STATUS INBOX ({text})")
        await self._done(command, "Status completed.")

    def _inbox(self, name: Token) -> Mailbox | None:
        return self._mailbox if isinstance(name, str) and name.upper() == "INBOX" else None

    async def do_select(self, command: Command) -> None:
        (name,) = command.words(1)
        mailbox = self._inbox(name)
        self._selected = False
        if mailbox is None:
            await self._no(command, f"[NONEXISTENT] Mailbox doesn't exist: {name}")
            return
        self._read_only = command.verb == "EXAMINE"
        self._view = list(mailbox.messages)
        permanent = "" if self._read_only else _FLAGS
        lines = (
            f"* FLAGS ({_FLAGS})",
            f"* OK [PERMANENTFLAGS ({permanent})] Flags permitted.",
            f"* {len(self._view)} EXISTS",
            "* 0 RECENT",
            f"* OK [UIDVALIDITY {mailbox.uid_validity}] UIDs valid",
            f"* OK [UIDNEXT {mailbox.uid_next}] Predicted next UID",
        )
        await self.wire.send("".join(f"{line}\r\n" for line in lines).encode())
        self._selected = True
        access = "READ-ONLY" if self._read_only else "READ-WRITE"
        await self._done(command, f"[{access}] {command.verb.capitalize()} completed.")

    async def do_unselect(self, command: Command) -> None:
        self._selected = False
        await self._done(command, f"{command.verb.capitalize()} completed.")

    async def do_search(self, command: Command) -> None:
        positions = imap_mail.search(self._view, command.arguments, command.tag)
        by_uid = command.verb.startswith("UID")
        numbers = [self._view[at].uid if by_uid else at + 1 for at in positions]
        await self.wire.send_line(" ".join(["* SEARCH", *map(str, numbers)]))
        await self._done(command, "Search completed.")

    async def do_fetch(self, command: Command) -> None:
        if len(command.arguments) != 2:  # noqa: PLR2004 - a set and what to fetch
            raise BadSyntax(command.tag, "Invalid arguments.")
        which, asked = command.arguments
        if not isinstance(which, str) or not is_set(which):
            raise BadSyntax(command.tag, "Invalid message set.")
        names = imap_mail.fetch_names(asked, command.tag)
        by_uid = command.verb.startswith("UID")
        if by_uid and "UID" not in map(str.upper, names):
            names.insert(0, "UID")
        numbers = [one.uid if by_uid else at for at, one in enumerate(self._view, 1)]
        chosen = in_set(which, numbers)
        if not (chosen or by_uid):
            raise BadSyntax(command.tag, "Invalid messageset")
        for position, (number, message) in enumerate(zip(numbers, self._view, strict=True), 1):
            if number in chosen:
                if imap_mail.marks_seen(names) and not self._read_only:
                    message.flags.add(imap_mail.SEEN)
                data = imap_mail.fetched(message, names, command.tag)
                await self.wire.send(f"* {position} FETCH (".encode() + data + b")\r\n")
        await self._done(command, "Fetch completed.")

    async def do_idle(self, command: Command) -> None:
        """Tell of changes as they happen until the client says DONE."""
        if self._mailbox is None:
            raise BadSyntax(command.tag, "No mailbox.")
        news = asyncio.Event()
        self._mailbox.watchers.add(news)
        answer = asyncio.ensure_future(self.wire.read_line())
        try:
            await self.wire.send_line("+ idling")
            while not answer.done():
                await self._tell_removals()
                await self._tell_news()
                waiting = asyncio.ensure_future(news.wait())
                await asyncio.wait({answer, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                news.clear()
            line = await answer
        finally:
            self._mailbox.watchers.discard(news)
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
        if line.strip().upper() != b"DONE":
            raise BadSyntax(command.tag, "Expected DONE.")
        await self._done(command, "Idle completed.")

    async def _tell_news(self) -> None:
        if self._mailbox is None or not self._selected:
            return
        last = self._view[-1].uid if self._view else 0
        arrived = [message for message in self._mailbox.messages if message.uid > last]
        if arrived:
            self._view += arrived
            await self.wire.send_line(f"* {len(self._view)} EXISTS")

    async def _tell_removals(self) -> None:
        if self._mailbox is None or not self._selected:
            return
        left = {message.uid for message in self._mailbox.messages}
        for position in range(len(self._view), 0, -1):
            if self._view[position - 1].uid not in left:
                del self._view[position - 1]
                await self.wire.send_line(f"* {position} EXPUNGE")


_Handler = Callable[[ImapSession, Command], Awaitable[None]]
_ALWAYS: Final[Mapping[str, _Handler]] = {
    "CAPABILITY": ImapSession.do_capability,
    "NOOP": ImapSession.do_noop,
    "ID": ImapSession.do_id,
    "LOGOUT": ImapSession.do_logout,
}
_BEFORE_LOGIN: Final[Mapping[str, _Handler]] = {
    "STARTTLS": ImapSession.do_start_tls,
    "LOGIN": ImapSession.do_login,
    "AUTHENTICATE": ImapSession.do_authenticate,
}
_AFTER_LOGIN: Final[Mapping[str, _Handler]] = {
    "LIST": ImapSession.do_list,
    "STATUS": ImapSession.do_status,
    "SELECT": ImapSession.do_select,
    "EXAMINE": ImapSession.do_select,
    "IDLE": ImapSession.do_idle,
}
_SELECTED: Final[Mapping[str, _Handler]] = {
    "CHECK": ImapSession.do_noop,
    "CLOSE": ImapSession.do_unselect,
    "UNSELECT": ImapSession.do_unselect,
    "SEARCH": ImapSession.do_search,
    "UID SEARCH": ImapSession.do_search,
    "FETCH": ImapSession.do_fetch,
    "UID FETCH": ImapSession.do_fetch,
}
