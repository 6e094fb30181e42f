"""Who the N gateways log in as. The same N gives the same users and passwords."""

import base64
import hashlib


def user(number: int) -> str:
    return f"mailbox-{number:06}@example.com"


def password(number: int) -> str:
    return base64.b32encode(hashlib.sha256(f"password {number}".encode()).digest())[:20].decode()


def accounts(count: int) -> dict[str, str]:
    """User to password, for a mail server that knows every gateway."""
    return {user(number): password(number) for number in range(count)}
