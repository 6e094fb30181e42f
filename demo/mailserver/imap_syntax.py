"""The grammar of IMAP commands (RFC 3501, 9): tokens, literals, sequence sets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from demo.mailserver.wire import Disconnected, Wire

Token = str | list["Token"]

LITERAL_LIMIT: Final = 65_536
_DEPTH_LIMIT: Final = 16
_LITERAL: Final = re.compile(r"\{(\d{1,9})(\+?)\}$")
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<open>\()|(?P<close>\))
    |"(?P<quoted>(?:[^"\\]|\\.)*)"
    |(?P<atom>(?:[^\s()"\[\]]|\[[^\]]*\])+)""",
    re.VERBOSE | re.DOTALL,
)
_RANGE: Final = re.compile(r"(\d{1,10}|\*)(?::(\d{1,10}|\*))?")


class BadSyntax(Exception):
    """A command that does not make sense; the text is for the answer."""

    def __init__(self, tag: str, message: str) -> None:
        super().__init__(message)
        self.tag = tag
        self.message = message


@dataclass(frozen=True, slots=True)
class Command:
    tag: str
    verb: str
    arguments: tuple[Token, ...]

    def words(self, count: int) -> tuple[str, ...]:
        """Exactly so many arguments, all of them strings, or BadSyntax."""
        words = tuple(word for word in self.arguments if isinstance(word, str))
        if len(words) != count or len(self.arguments) != count:
            raise BadSyntax(self.tag, "Invalid arguments.")
        return words


async def read_command(wire: Wire) -> Command:
    """Read one command with its literals. Raises BadSyntax, LineTooLong, Disconnected."""
    text = ""
    while True:
        line = (await wire.read_line()).decode(errors="replace")
        literal = _LITERAL.search(line)
        if literal is None:
            return _command(text + line)
        size, unannounced = int(literal[1]), bool(literal[2])
        if size > LITERAL_LIMIT:
            if unannounced:  # it is on its way already, and there is no point in reading it
                raise Disconnected
            raise BadSyntax(_tag(text + line), "Literal too large.")
        if not unannounced:
            await wire.send_line("+ OK")
        content = (await wire.read_exactly(size)).decode(errors="replace")
        text += line[: literal.start()] + '"' + re.sub(r'(["\\])', r"\\\1", content) + '"'


def _tag(text: str) -> str:
    tag = text.partition(" ")[0]
    return tag if re.fullmatch(r'[^\s()"{}%*\\+\]]+', tag) else "*"


def _command(text: str) -> Command:
    tag = _tag(text)
    tokens = parse(text.partition(" ")[2], tag)
    if tag == "*" or not tokens or not isinstance(tokens[0], str):
        raise BadSyntax(tag, "Invalid tag or missing command.")
    verb = tokens[0].upper()
    if verb == "UID" and len(tokens) > 1 and isinstance(tokens[1], str):
        return Command(tag, f"UID {tokens[1].upper()}", tuple(tokens[2:]))
    return Command(tag, verb, tuple(tokens[1:]))


def parse(text: str, tag: str) -> list[Token]:
    """Atoms and quoted strings as str, parenthesised lists as list. Raises BadSyntax."""
    top: list[Token] = []
    stack = [top]
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or len(stack) > _DEPTH_LIMIT:
            raise BadSyntax(tag, "Syntax error.")
        position = match.end()
        _take(match, stack, tag)
    if len(stack) > 1:
        raise BadSyntax(tag, "Missing ')'.")
    return top


def _take(match: re.Match[str], stack: list[list[Token]], tag: str) -> None:
    match match.lastgroup:
        case "open":
            inner: list[Token] = []
            stack[-1].append(inner)
            stack.append(inner)
        case "close":
            if len(stack) == 1:
                raise BadSyntax(tag, "Unexpected ')'.")
            stack.pop()
        case "quoted":
            stack[-1].append(re.sub(r"\\(.)", r"\1", match["quoted"], flags=re.DOTALL))
        case "atom":
            stack[-1].append(match["atom"])
        case _:
            pass


def is_set(text: str) -> bool:
    return all(_RANGE.fullmatch(part) for part in text.split(","))


def in_set(text: str, numbers: Sequence[int]) -> set[int]:
    """Those of the rising `numbers` that a sequence set names; `*` is the last of them.

    `7:*` names the last number even where that is below 7 (RFC 3501, seq-range).
    """
    if not numbers:
        return set()
    found: set[int] = set()
    for part in text.split(","):
        ends = [numbers[-1] if end == "*" else int(end) for end in part.split(":")]
        found.update(number for number in numbers if min(ends) <= number <= max(ends))
    return found
