"""Logging in: the bytes of user name and password, and which refusals mean what."""

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from reconciler.model import MASK, FailureKind, Gateway, Secret
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.failures import fail, quoted

# A refusal without a code that still says "not now" and not "wrong password". Old POP3 servers
# word the lock so (RFC 1939 has the example), and several providers their limit of connections.
_BUSY_WORDS: Final = re.compile(
    r"too many (simultaneous |concurrent )?(connections|sessions)"
    r"|mail(drop|box)\b.{0,40}\b(locked|lock busy|in use|busy)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password, byte-exact, in UTF-8."""

    user: bytes
    password: bytes

    def __repr__(self) -> str:
        return MASK

    @property
    def plain(self) -> bytes:
        """The one message of SASL PLAIN (RFC 4616), in base64."""
        return b64encode(b"\0" + self.user + b"\0" + self.password)


def credentials_of(gateway: Gateway, password: Secret | None) -> Credentials:
    """What the gateway logs in with; this is where a session reveals its password.

    Raises:
        SessionError: one of the two is missing, or cannot be sent in any protocol.

    """
    if not gateway.user_id:
        raise fail(FailureKind.AUTH, "user_id", "no user_id to log in with")
    if password is None or not password.reveal():
        raise fail(FailureKind.AUTH, "user_password", "no password to log in with")
    return Credentials(
        _sendable(gateway.user_id, "user_id"), _sendable(password.reveal(), "user_password")
    )


def masked(text: str, gateway: Gateway, password: Secret) -> str:
    """A server's words, cleaned, without the password, should it echo what it was sent."""
    given = Credentials(
        (gateway.user_id or "").encode("utf-8", "replace"),
        password.reveal().encode("utf-8", "replace"),
    )
    for secret in (given.plain, b64encode(given.password), given.password):
        if shown := quoted(secret):  # cleaned like the words, or it would not be found in them
            text = text.replace(shown, MASK)
    return text


def _sendable(text: str, field: str) -> bytes:
    if not any(char in text for char in "\r\n\0"):
        try:
            return text.encode()
        except UnicodeEncodeError:
            pass  # half of a surrogate pair; the exception would hold the text
    raise fail(FailureKind.AUTH, field, f"{field} holds a character that no mail server accepts")


def login_refused(where: str, said: str, field: str = "user_password") -> SessionError:
    """The server's final word on user name and password."""
    return fail(
        FailureKind.AUTH,
        field,
        f"{where} refuses the login: {said}" if said else f"{where} refuses the login",
        "check user_id and user_password; some providers want an app password here",
    )


def server_busy(where: str, said: str) -> SessionError:
    return fail(
        FailureKind.BUSY,
        "host",
        f"{where} is busy: {said}" if said else f"{where} is busy",
        "nothing is wrong with the declaration; it is tried again later",
        transient=True,
    )


def sounds_busy(said: str) -> bool:
    return bool(_BUSY_WORDS.search(said))


def login_not_offered(where: str, *, encrypted: bool) -> SessionError:
    """The server takes no password here; without encryption that is most often the reason."""
    if not encrypted:
        return fail(
            FailureKind.PROTOCOL,
            "encryption_mode",
            f"{where} takes no login without encryption",
            "use encryption_mode TLS or STARTTLS",
        )
    return fail(
        FailureKind.PROTOCOL,
        "authentication_flag",
        f"{where} offers no login with user name and password",
        "check that the port is the one for clients; or set authentication_flag to false",
    )
