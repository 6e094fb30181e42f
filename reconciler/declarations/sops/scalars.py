"""What a plain scalar means to go-yaml v3, which sops reads with, and which bytes its MAC hashes.

It is neither YAML 1.1 nor 1.2: `yes` is a string, `017` is 15, `08` is 8.0, `1_000` is 1000 and
`1e400` is a string. The MAC covers the resolved values, so a reader must resolve them alike.
"""

import math
import re
from decimal import Decimal

from reconciler.declarations.sops.errors import Reason, SopsError

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_UNSUPPORTED = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|\d{4}-\d\d?-\d\d?(?:[Tt ].*)?")
_INTEGER = re.compile(
    r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))", re.ASCII
)
_BASES = (16, 2, 8, 10)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**63, 2**64)
_MOST_DIGITS = 64  # of 64 bits, written in binary


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar.

    Raises:
        SopsError: a timestamp, an infinity, NaN or an integer past int64, which sops itself cannot
            encrypt or prints in another way than it reads.

    """
    if text in _WORDS:
        return _WORDS[text]
    if _UNSUPPORTED.fullmatch(text):
        raise SopsError(Reason.UNSUPPORTED, "a date, infinity or NaN stands here unencrypted")
    if text[0] not in ".+-0123456789":
        return text
    return _number(text)


def _number(text: str) -> Scalar:
    plain = text.replace("_", "")
    if match := _INTEGER.fullmatch(plain):
        base, digits = next(
            (base, digits)
            for base, digits in zip(_BASES, match.groups()[1:], strict=True)
            if digits
        )
        digits = digits.lstrip("0") or "0"
        if len(digits) <= _MOST_DIGITS:
            number = int(match[1] + digits, base)
            if number in _INT64:
                return number
            if number in _UINT64:
                raise SopsError(Reason.UNSUPPORTED, "an integer past int64 stands here unencrypted")
    if not _FLOAT.fullmatch(plain):
        return text
    real = float(plain)
    return text if math.isinf(real) else real  # go-yaml keeps what overflows as a string


def hashed(value: Scalar) -> bytes:
    """The bytes that the MAC covers for a value; none for null."""
    match value:
        case None:
            return b""
        case bool():
            return b"True" if value else b"False"
        case float():
            return float_text(value).encode()
        case _:
            return str(value).encode()


def float_text(number: float) -> str:
    """The shortest digits that read back as `number`, never with an exponent."""
    return format(Decimal(repr(number)), "f").removesuffix(".0")
