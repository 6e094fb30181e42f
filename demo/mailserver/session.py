"""What a session of any of the three protocols is: a greeting, then commands until its end."""

import base64
import binascii
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable

from demo.mailserver.state import Faults, State
from demo.mailserver.wire import Wire
from reconciler.model import EncryptionMode


class Session(ABC):
    """One connection of a client. `ended` is set by the command that ends it."""

    def __init__(
        self,
        wire: Wire,
        state: State,
        mode: EncryptionMode,
        tls_context: Callable[[], ssl.SSLContext],
    ) -> None:
        self.wire = wire
        self.state = state
        self.mode = mode
        self.tls_context = tls_context
        self.user: str | None = None
        self.ended = False

    async def run(self) -> None:
        """Serve until the client or a command ends it. Raises Disconnected when cut off."""
        try:
            await self.greet()
            while not self.ended:
                await self.command()
        finally:
            self.release()

    @abstractmethod
    async def greet(self) -> None: ...

    @abstractmethod
    async def command(self) -> None:
        """Read one command and answer it."""

    def release(self) -> None:  # noqa: B027 - only POP3 has something to let go of
        """Let go of what the session holds."""

    @property
    def faults(self) -> Faults:
        return self.state.faults

    @property
    def offers_starttls(self) -> bool:
        asked_for = self.mode is EncryptionMode.STARTTLS and not self.wire.secure
        return asked_for and not self.faults.hide_starttls

    @property
    def needs_tls_first(self) -> bool:
        """Whether a password would cross the wire in clear where it need not."""
        return self.mode is EncryptionMode.STARTTLS and not self.wire.secure

    @property
    def offers_login(self) -> bool:
        return not (self.needs_tls_first or self.user or self.faults.hide_login)


def decode_base64(text: bytes | str) -> str | None:
    """The text that a SASL answer holds; None if it is not base64 of UTF-8."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def decode_plain(answer: bytes | str) -> tuple[str, str] | None:
    """User and password of a SASL PLAIN answer (RFC 4616); None if it is malformed."""
    parts = (decode_base64(answer) or "").split("\0")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[1] else None  # noqa: PLR2004 - RFC 4616


def dot_stuffed(lines: bytes) -> bytes:
    """Lines as SMTP and POP3 send them: a leading dot doubled, a lone dot at the end."""
    body = lines if not lines or lines.endswith(b"\r\n") else lines + b"\r\n"
    stuffed = b"." + body if body.startswith(b".") else body
    return stuffed.replace(b"\r\n.", b"\r\n..") + b".\r\n"
