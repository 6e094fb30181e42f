"""What an unquoted scalar means: YAML 1.2's core schema, less everything that readers disagree on.

`no` is False to one reader and a word to the next, `0777` is 511, 777 or text, `12:30:45` is 45045.
Choosing one of them in silence would send a wrong value to a mail server, so these are refused.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a scalar is not accepted; `{}` stands for the tag in `echo`, or else for the scalar."""

    rule: str
    message: str
    hint: str
    echo: str = ""


_QUOTE: Final = 'quote it: "{}"'
_DOUBTFUL: Final = Refused("ambiguous-value", "{} means different things to YAML readers", _QUOTE)
_WORD: Final = Refused(_DOUBTFUL.rule, _DOUBTFUL.message, f"write true or false, or {_QUOTE}")
_MERGE: Final = Refused(
    "merge-key", "merge keys (<<) are not supported", "put what gateways share under defaults:"
)
_LONG: Final = Refused("number-too-large", "a number of too many digits", "quote it if it is text")

_NUMBER_LENGTH: Final = 20
"""Characters of the longest number of 64 bits, sign included."""
_LEAST, _LARGEST = -(2**63), 2**63 - 1

_ANSWERS: Final = ("yes", "no", "on", "off", "y", "n")
_WORDS: Final[dict[str, bool | Refused | None]] = {
    **{spell(word): _WORD for word in _ANSWERS for spell in (str, str.upper, str.capitalize)},
    **{spell("true"): True for spell in (str, str.upper, str.capitalize)},
    **{spell("false"): False for spell in (str, str.upper, str.capitalize)},
    **{spell("null"): None for spell in (str, str.upper, str.capitalize)},
    "": None,
    "~": None,
    "=": _DOUBTFUL,
    "<<": _MERGE,
}
_DIGITS: Final = frozenset("0123456789+-.")

MAY_BE_MORE: Final = _DIGITS | {word[:1] for word in _WORDS}
"""First characters of every unquoted scalar that may be more than text; "" is one."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)")
_READERS_DISAGREE = re.compile(
    r"""
    [-+]? (?:
        [0-9][0-9_]* (?:\.[0-9_]*)?                                # 0777  08  1_000  00.5
      | \.[0-9][0-9_]*                                             # .5_0
      | 0[xX][0-9a-fA-F_]+ | 0[oO][0-7_]+ | 0[bB][01_]+            # 0x1F  0o17  0b11
      | [0-9][0-9_]* (?::[0-5]?[0-9])+ (?:\.[0-9_]*)?              # 12:30:45
      | (?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9_]+) [eE][-+]?[0-9]+   # 1e3
      | \.(?:inf|Inf|INF|nan|NaN|NAN)
    )
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2} (?:[Tt\ \t].*)?               # 2026-01-02
    """,
    re.VERBOSE | re.DOTALL,
)


def resolve(text: str) -> Scalar | Refused:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _DIGITS:
        return text
    return _number(text) if len(text) <= _NUMBER_LENGTH else _number.__wrapped__(text)


@lru_cache(maxsize=256)
def _number(text: str) -> Scalar | Refused:
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return float(text) if len(text) <= _NUMBER_LENGTH else _LONG
    return _DOUBTFUL if _READERS_DISAGREE.fullmatch(text) else text


def _integer(text: str) -> int | Refused:
    # The length first: int() refuses thousands of digits with an exception of its own.
    if len(text) > _NUMBER_LENGTH or not _LEAST <= (number := int(text)) <= _LARGEST:
        return _LONG
    return number


CORE_TAG: Final = "tag:yaml.org,2002:"

_TAG: Final = "unknown-tag"
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}


def resolve_tagged(tag: str, text: str) -> Scalar | Refused:
    """The value of a scalar with an explicit tag, quoted or not."""
    name = tag.removeprefix(CORE_TAG)
    if name == "str":
        return text
    if name not in _KINDS or name == tag:
        return refused_tag(tag)
    value = resolve(text)
    if value is _LONG:
        return value
    if type(value) not in _KINDS[name]:
        return Refused(_TAG, f"this value does not fit its tag !!{name}", "delete the tag")
    return float(value) if name == "float" and isinstance(value, int) else value


def refused_tag(tag: str) -> Refused:
    short = "!!" + tag.removeprefix(CORE_TAG) if tag.startswith(CORE_TAG) else tag
    return Refused(_TAG, "{} is not supported", "delete the tag", short)
