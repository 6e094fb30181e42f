"""Before and after libyaml: which bytes may reach it, and what its complaints mean to people."""

import re
from typing import Final

import yaml

from reconciler.declarations.conflicts import conflict_line
from reconciler.declarations.yaml_faults import Fault

try:
    from yaml._yaml import CParser as Parser
except ImportError as missing:  # PyYAML's own parser is 20 times slower, and another parser
    raise ImportError("PyYAML without libyaml: install PyYAML from its wheel") from missing

__all__ = ["MAX_BYTES", "Parser", "checked", "has_control_character", "reworded"]

MAX_BYTES: Final = 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_ORDINARY: Final = bytes(range(0x20, 0x7F)) + b"\n\r\t"
_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
# NEL, LS and PS are left out too: libyaml ends a line there and editors do not, so that a reader
# of the file would see something else than the program.
# Both are compiled when first needed, which they seldom are: it takes as long as reading ten files.
_FORBIDDEN: Final = (
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_NOT_IN_VALUES: Final = "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]"
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


def checked(text: bytes) -> bytes:
    """The text without its BOM. Raises Fault for what is not text or not UTF-8."""
    if len(text) > MAX_BYTES:
        hint = "split it: each file of the folder is read"
        raise Fault("file-too-large", 0, 0, "the file is larger than 1 MiB", hint)
    if not text.translate(None, _ORDINARY):
        return text  # nearly every file; libyaml reads the rest
    text = text.removeprefix(_BOM)
    if text.startswith(_WIDE_BOMS) or text[:4].count(0) in (2, 3):
        raise Fault("not-utf8", 0, 0, "the file is UTF-16 or UTF-32", "save it as UTF-8")
    _check_characters(_decoded(text))
    return text


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        line, column = _where(text[: error.start].decode())
        raise Fault(
            "not-utf8", line, column, "this is not UTF-8", "save the file as UTF-8"
        ) from None


def _check_characters(characters: str) -> None:
    found = re.search(_FORBIDDEN, characters)
    if found is None:
        return
    line, column = _where(characters[: found.start()])
    message = f"the character U+{ord(found[0]):04X} is not accepted"
    raise Fault("control-character", line, column, message, "delete it; it cannot be seen")


def _where(before: str) -> tuple[int, int]:
    lines = _LINE_END.split(before)
    return len(lines) - 1, len(lines[-1])


def has_control_character(value: str) -> bool:
    """Whether an escape of a quoted scalar gave a character that belongs in no field."""
    return not value.isprintable() and re.search(_NOT_IN_VALUES, value) is not None


_TAB: Final = "a tab cannot indent a line"
_INDENT_HINT: Final = "check the indentation, and that nothing follows a closing quote"
_QUOTE_HINT: Final = "put a value with special characters in quotes"
_CONFLICT_HINT: Final = "keep what is right of both sides, and take out the lines that git added"
_ESCAPES: Final = r"write \xNN, \uNNNN or \UNNNNNNNN"
_AT_OPENING: Final = frozenset(
    {
        "could not find expected ':'",
        "found unexpected end of stream",
        "found unexpected document indicator",
    }
)
_REWORDED: Final = {
    "could not find expected ':'": ("a key without its ':'", "write key: value"),
    "mapping values are not allowed in this context": (
        "a ':' is not expected here",
        "check the indentation and the line before; put a value that holds ': ' in quotes",
    ),
    "mapping keys are not allowed in this context": (
        "a '?' is not expected here",
        "write key: value",
    ),
    "block sequence entries are not allowed in this context": (
        "a list entry is not expected here",
        "start the list on a line of its own, below its key",
    ),
    "did not find expected key": ("this does not fit the map that it stands in", _INDENT_HINT),
    "did not find expected '-' indicator": (
        "this does not fit the list that it stands in",
        "entries of one list start in the same column",
    ),
    "did not find expected ',' or '}'": (
        "a ',' or the closing '}' is missing before this",
        _QUOTE_HINT,
    ),
    "did not find expected ',' or ']'": (
        "a ',' or the closing ']' is missing before this",
        _QUOTE_HINT,
    ),
    "did not find expected node content": ("a value is missing here", _QUOTE_HINT),
    "found unexpected end of stream": ("this quote is never closed", "close it on the same line"),
    "found unexpected document indicator": (
        "this quote is never closed",
        "close it on the same line",
    ),
    "found unknown escape character": (
        "an unknown escape after '\\'",
        "use single quotes, or write \\\\ for one '\\'",
    ),
    "did not find expected hexdecimal number": ("an incomplete escape after '\\'", _ESCAPES),
    "found invalid Unicode character escape code": ("this escape is no character", _ESCAPES),
    "did not find expected alphabetic or numeric character": (
        "a name is missing after '&' or '*'",
        "put a value that starts with & or * in quotes",
    ),
    "did not find expected comment or line break": (
        "nothing may follow on this line",
        _QUOTE_HINT,
    ),
    "found an indentation indicator equal to 0": (
        "the indentation after | or > counts from 1",
        "leave it out",
    ),
    "found incompatible YAML document": ("this version of YAML is not supported", "delete it"),
    "did not find expected <document start>": (
        "this stands outside the document",
        "delete it, or what ends the document before it",
    ),
}


def reworded(error: yaml.YAMLError, text: bytes) -> Fault:
    """What libyaml could not read, in words for people; no text of the file in them."""
    conflict = conflict_line(text)
    if conflict is not None:
        return Fault("yaml-syntax", conflict, 0, "git left a merge conflict here", _CONFLICT_HINT)
    words = getattr(error, "problem", None) or ""
    opening = getattr(error, "context_mark", None)
    mark = getattr(error, "problem_mark", None) or opening
    if mark is None:
        return Fault("yaml-syntax", 0, 0, "this is not valid YAML")
    character = text.decode()[mark.index : mark.index + 1]  # the index counts characters
    message, hint = _words(words, str(getattr(error, "context", "")), character)
    if opening and words in _AT_OPENING:
        mark = opening
    elif opening and not character and "expected ','" in words:
        mark, message, hint = opening, "this bracket is never closed", "close it"
    rule = "tab-indentation" if message == _TAB else "yaml-syntax"
    return Fault(rule, mark.line, mark.column, message, hint)


def _words(words: str, context: str, character: str) -> tuple[str, str]:
    """Message and hint for a complaint of libyaml's."""
    if words in _REWORDED:
        return _REWORDED[words]
    if "tab character" in words or (words.startswith("found character") and character == "\t"):
        return _TAB, "indent with spaces"
    if words.startswith("found character"):
        return "an unquoted value cannot start with this character", "put the value in quotes"
    if "tag" in words or "tag" in context:
        return "this tag is not supported", "delete it, or put a value that starts with ! in quotes"
    if "directive" in words or "directive" in context:
        return "this directive is not supported", "put a value that starts with % in quotes"
    return "this is not valid YAML", _QUOTE_HINT
