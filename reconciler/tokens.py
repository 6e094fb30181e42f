"""The text of an access token, which the service and its clients both read.

`gwt_ID.SECRET.ORIGIN`: the prefix is for programs that look for secrets in the wrong place; the
origin, in base64url, is where the client may send the token. Nothing trusts it but the client, so
that settings that somebody else may write can never send a token to his own server.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from reconciler.model import MASK, Secret

PREFIX: Final = "gwt_"
_TEXT: Final = re.compile(r"gwt_([a-z0-9]{12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]*)")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Token:
    """`origin` is scheme, host and port, or None for a token that may go to loopback only."""

    id: str
    secret: Secret
    origin: str | None

    def text(self) -> Secret:
        origin = base64.urlsafe_b64encode((self.origin or "").encode()).rstrip(b"=").decode()
        return Secret(f"{PREFIX}{self.id}.{self.secret.reveal()}.{origin}")

    def __repr__(self) -> str:
        return f"Token({self.id}, {MASK}, {self.origin})"

    @classmethod
    def parse(cls, text: str) -> "Token":
        """Raises ValueError; its message does not hold the text."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError("it is not a token of this program")
        padded = match[3] + "=" * (-len(match[3]) % 4)
        try:
            origin = base64.b64decode(padded, b"-_", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ValueError("it is damaged") from None
        return cls(match[1], Secret(match[2]), origin or None)


def origin_of(url: str) -> str:
    """Scheme, host and port of an http or https URL, the port always named.

    Raises:
        ValueError: it is no such URL.

    """
    parts = urlsplit(url)
    name = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or not name or parts.port == 0 or "@" in parts.netloc:
        raise ValueError("it is not an http or https URL")
    host = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{host}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"
