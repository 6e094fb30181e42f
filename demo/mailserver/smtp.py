"""SMTP submission (RFC 5321, 6409), as Postfix answers it."""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from demo.mailserver.session import Session, decode_base64, decode_plain
from demo.mailserver.state import Login
from demo.mailserver.wire import Disconnected, LineTooLong

SIZE_LIMIT: Final = 26_214_400
_ADDRESS: Final = re.compile(r"(?:FROM|TO):\s*<([^<>]*)>(?:\s+(.*))?", re.IGNORECASE)
_BEFORE_TLS: Final = frozenset({"EHLO", "HELO", "STARTTLS", "NOOP", "QUIT"})
_LOGIN_REPLY: Final = {
    Login.OK: "235 2.7.0 Authentication successful",
    Login.REFUSED: "535 5.7.8 Error: authentication failed: (reason unavailable)",
    Login.BUSY: "454 4.7.0 Temporary authentication failure",
}


class SmtpSession(Session):
    hello: str | None = None
    sender: str | None = None
    recipients: tuple[str, ...] = ()

    async def greet(self) -> None:
        if self.faults.busy_greeting:
            self.ended = True
            await self.wire.send_line("421 4.3.2 Service currently unavailable, try again later")
            return
        await self.wire.send_line("220 mail.demo ESMTP")

    async def command(self) -> None:
        try:
            line = (await self.wire.read_line()).decode()
        except LineTooLong:
            self.ended = True
            await self.wire.send_line("500 5.5.2 Error: line too long")
            return
        except UnicodeDecodeError:
            await self.wire.send_line("500 5.5.2 Error: bad UTF-8 syntax")
            return
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        if self.needs_tls_first and not self.faults.hide_starttls and verb not in _BEFORE_TLS:
            await self.wire.send_line("530 5.7.0 Must issue a STARTTLS command first")
        elif handler := _COMMANDS.get(verb):
            await handler(self, rest.strip())
        else:
            await self.wire.send_line("500 5.5.2 Error: command not recognized")

    async def do_hello(self, rest: str) -> None:
        self._forget_mail()
        self.hello = rest or None
        await self.wire.send_line("250 mail.demo" if rest else "501 Syntax: HELO hostname")

    async def do_extended_hello(self, rest: str) -> None:
        self._forget_mail()
        self.hello = rest or None
        if not rest:
            await self.wire.send_line("501 Syntax: EHLO hostname")
            return
        offers = ["mail.demo", "PIPELINING", f"SIZE {SIZE_LIMIT}"]
        if self.offers_starttls:
            offers.append("STARTTLS")
        if self.offers_login:
            offers.append("AUTH PLAIN LOGIN")
        offers += ["ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8"]
        lines = [f"250-{offer}\r\n" for offer in offers[:-1]] + [f"250 {offers[-1]}\r\n"]
        await self.wire.send("".join(lines).encode())

    async def do_start_tls(self, rest: str) -> None:
        if rest:
            await self.wire.send_line("501 5.5.4 Syntax: STARTTLS")
        elif not self.offers_starttls:
            await self.wire.send_line("502 5.5.1 Error: command not implemented")
        elif self.faults.refuse_starttls:
            await self.wire.send_line("454 4.7.0 TLS not available due to local problem")
        else:
            await self.wire.send_line("220 2.0.0 Ready to start TLS")
            await self.wire.start_tls(self.tls_context())
            self.hello = None
            self._forget_mail()

    async def do_authenticate(self, rest: str) -> None:
        mechanism, _, initial = rest.partition(" ")
        if self.user:
            await self.wire.send_line("503 5.5.1 Error: already authenticated")
        elif self.hello is None or not self.offers_login:
            await self.wire.send_line("503 5.5.1 Error: authentication not enabled")
        elif mechanism.upper() == "PLAIN":
            answer = initial or await self._challenge("")
            await self._log_in(decode_plain(answer) if answer != "*" else None)
        elif mechanism.upper() == "LOGIN":
            user = initial or await self._challenge("VXNlcm5hbWU6")
            word = "*" if user == "*" else await self._challenge("UGFzc3dvcmQ6")
            decoded = decode_base64(user), decode_base64(word)
            known = decoded[0] is not None and decoded[1] is not None and word != "*"
            await self._log_in((decoded[0] or "", decoded[1] or "") if known else None)
        else:
            await self.wire.send_line("535 5.7.8 Error: authentication failed: Invalid mechanism")

    async def _challenge(self, text: str) -> str:
        await self.wire.send_line(f"334 {text}")
        return (await self.wire.read_line()).decode(errors="replace")

    async def _log_in(self, credentials: tuple[str, str] | None) -> None:
        if credentials is None:
            await self.wire.send_line("501 5.5.2 Error: authentication cancelled or malformed")
            return
        result = await self.state.login(*credentials)
        if result is Login.OK:
            self.user = credentials[0]
        await self.wire.send_line(_LOGIN_REPLY[result])

    async def do_mail(self, rest: str) -> None:
        address = _ADDRESS.fullmatch(rest)
        if self.hello is None:
            await self.wire.send_line("503 5.5.1 Error: send HELO/EHLO first")
        elif self.sender is not None:
            await self.wire.send_line("503 5.5.1 Error: nested MAIL command")
        elif address is None:
            await self.wire.send_line("501 5.5.4 Syntax: MAIL FROM:<address>")
        elif _announced_size(address[2]) > SIZE_LIMIT:
            await self.wire.send_line("552 5.3.4 Message size exceeds fixed limit")
        else:
            reply = self.faults.mail_reply or "250 2.1.0 Ok"
            self.sender = address[1] if reply.startswith("2") else None
            await self.wire.send_line(reply)

    async def do_recipient(self, rest: str) -> None:
        address = _ADDRESS.fullmatch(rest)
        if self.sender is None:
            reply = "503 5.5.1 Error: need MAIL command"
        elif address is None or not address[1]:
            reply = "501 5.5.4 Syntax: RCPT TO:<address>"
        else:
            reply = self.faults.recipient_reply or self._judge_recipient(address[1])
            if reply.startswith("2"):
                self.recipients += (address[1],)
        await self.wire.send_line(reply)

    def _judge_recipient(self, address: str) -> str:
        if self.state.local(address):
            return "250 2.1.5 Ok"
        if self.state.is_ours(address):
            unknown = "Recipient address rejected: User unknown in local recipient table"
            return f"550 5.1.1 <{address}>: {unknown}"
        return "250 2.1.5 Ok" if self.user else f"554 5.7.1 <{address}>: Relay access denied"

    async def do_data(self, _rest: str) -> None:
        if not self.recipients:
            needs = "MAIL" if self.sender is None else "RCPT"
            await self.wire.send_line(f"503 5.5.1 Error: need {needs} command")
            return
        await self.wire.send_line("354 End data with <CR><LF>.<CR><LF>")
        body = await self._read_body()
        if body is None:
            return
        reply = self.faults.data_reply or self._size_reply(body) or "250 2.0.0 Ok: queued"
        if reply.startswith("2"):
            self.state.deliver(list(self.recipients), self._trace() + body)
        self._forget_mail()
        if self.faults.close_after_message:
            raise Disconnected
        await self.wire.send_line(reply)

    async def _read_body(self) -> bytes | None:
        """The message without dot-stuffing; None, and the end, if a line ends in a bare LF.

        What is too large is read to its end and kept only as far as it shows to be too large.
        """
        body = bytearray()
        while True:
            try:
                line = await self.wire.read_raw_line(SIZE_LIMIT)
            except LineTooLong:
                line = b"\n"
            if not line.endswith(b"\r\n"):
                self.ended = True
                await self.wire.send_line("521 5.5.2 mail.demo Error: bare <LF> received")
                return None
            if line == b".\r\n":
                return bytes(body)
            if len(body) <= SIZE_LIMIT:
                body += line.removeprefix(b".")

    def _size_reply(self, body: bytes) -> str | None:
        too_large = len(body) > SIZE_LIMIT
        return "552 5.3.4 Error: message file too big" if too_large else None

    def _trace(self) -> bytes:
        date = format_datetime(datetime.now(UTC))
        received = f"Received: from {self.hello} by mail.demo with ESMTP; {date}"
        return f"Return-Path: <{self.sender}>\r\n{received}\r\n".encode()

    async def do_reset(self, _rest: str) -> None:
        self._forget_mail()
        await self.wire.send_line("250 2.0.0 Ok")

    async def do_noop(self, _rest: str) -> None:
        await self.wire.send_line("250 2.0.0 Ok")

    async def do_verify(self, _rest: str) -> None:
        await self.wire.send_line("502 5.5.1 VRFY command is disabled")

    async def do_quit(self, _rest: str) -> None:
        self.ended = True
        await self.wire.send_line("221 2.0.0 Bye")

    def _forget_mail(self) -> None:
        self.sender, self.recipients = None, ()


def _announced_size(parameters: str | None) -> int:
    sizes = re.findall(r"\bSIZE=(\d{1,15})\b", parameters or "", re.IGNORECASE)
    return int(sizes[0]) if sizes else 0


_Handler = Callable[[SmtpSession, str], Awaitable[None]]
_COMMANDS: Final[Mapping[str, _Handler]] = {
    "EHLO": SmtpSession.do_extended_hello,
    "HELO": SmtpSession.do_hello,
    "STARTTLS": SmtpSession.do_start_tls,
    "AUTH": SmtpSession.do_authenticate,
    "MAIL": SmtpSession.do_mail,
    "RCPT": SmtpSession.do_recipient,
    "DATA": SmtpSession.do_data,
    "RSET": SmtpSession.do_reset,
    "NOOP": SmtpSession.do_noop,
    "VRFY": SmtpSession.do_verify,
    "QUIT": SmtpSession.do_quit,
}
