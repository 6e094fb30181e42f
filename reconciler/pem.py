"""PEM taken apart by hand, and put together again in one form.

So the same certificates have the same digest, whoever wrote them down and however.
"""

import binascii
import re
from collections.abc import Sequence
from typing import Final

LINE: Final = 64

_BLOCK: Final = re.compile(
    rb"-----BEGIN ((?:X509 )?CERTIFICATE)-----([A-Za-z0-9+/=\s]*)-----END \1-----"
)


def ders_of(content: bytes) -> tuple[bytes, ...]:
    """What each certificate block holds, in order, whether or not that is a certificate.

    Raises:
        ValueError: a block is damaged.

    """
    blocks = _BLOCK.findall(content)
    if blocks and content.count(b"CERTIFICATE-----") != 2 * len(blocks):
        raise ValueError
    return tuple(
        binascii.a2b_base64(b"".join(text.split()), strict_mode=True) for _, text in blocks
    )


def pem_of(ders: Sequence[bytes]) -> str:
    """The certificates as PEM: 64 characters a line, nothing between them."""
    return "".join(map(_armoured, ders))


def _armoured(der: bytes) -> str:
    text = binascii.b2a_base64(der, newline=False).decode("ascii")
    lines = "\n".join(text[i : i + LINE] for i in range(0, len(text), LINE))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"
