"""How an announcement is signed, so that its receiver can tell it from anybody else's.

The format is that of Standard Webhooks (https://www.standardwebhooks.com), for which there are
verifying libraries in most languages: HMAC-SHA-256 over identity, time and body.
"""

import base64
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from reconciler.model import Secret

PREFIX: Final = "whsec_"
_KEY_BYTES: Final = 32


def make_secret() -> Secret:
    """A new signing secret, as it is shown to whoever registers a webhook."""
    return Secret(PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode())


def signed(event: str, at: int, body: bytes, keys: Sequence[Secret]) -> Mapping[str, str]:
    """The headers that make an announcement worth believing, with a signature by each secret.

    `at` is the moment of this attempt, in whole seconds of Unix time.
    """
    content = f"{event}.{at}.".encode() + body
    return {
        "webhook-id": event,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{_signature(content, key)}" for key in keys),
    }


def _signature(content: bytes, key: Secret) -> str:
    raw = base64.b64decode(key.reveal().removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(raw, content, "sha256")).decode()
