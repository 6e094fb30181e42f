"""Every string from outside is data for its sink: terminal, log, JSON, Markdown, CI command."""

import json
import re
from typing import Any, Final
from urllib.parse import quote

# Control characters, those that reorder or hide text (Trojan Source, CVE-2021-42574) or show as
# nothing at all, and what no encoding can hold.
_UNSAFE: Final = (
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# `##[error]`, `##vso[...]`: what runners of CI jobs obey wherever it stands in a line
_COMMAND: Final = r"(?<=#)#(?=\w*\[)"
_SPELLED: Final = re.compile(f"{_UNSAFE}|{_COMMAND}")
_IN_JSON: Final = re.compile(_COMMAND)
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&@:/$^\x00]|\A\s|\s\Z)")
# Where a forge looks, in what is left once entities are decoded, for mentions, for references
# (#1, GH-1, and on GitLab !1, ~label, %milestone, $1, &1, ^1), for addresses and for :emoji:
_NOTICED: Final = re.compile(
    r"[@#]|[!~%$&^](?=[\w\"'])|:(?=//|(?!\d)[\w+-]+(?::|\Z))"
    r"|\bg[hl]-(?=\d)|\bwww(?=\.)",
    re.ASCII | re.IGNORECASE,
)
_APART: Final = "&#8203;"
_LONGEST: Final = 0xFFFF
_COLOUR: Final = re.compile("(\x1b\\[[0-9]{1,2}m)")


def line(text: str) -> str:
    """One line for a terminal: whatever could move the cursor, colour or hide is spelled out."""
    return _SPELLED.sub(_spelled, text)


def log_line(text: str) -> str:
    """`line`, and unable to pass for a command of a CI log, which begin with two colons."""
    safe = line(text)
    return safe.replace("::", ":\\u003a") if safe.lstrip().startswith("::") else safe


def log_lines(text: str) -> str:
    """Several lines, each by itself; for what is ours but for the words in it."""
    return "\n".join(map(log_line, text.split("\n")))


def painted_lines(text: str) -> str:
    """Several lines for a terminal: the colours in them stay, all else is spelled out."""
    parts = _COLOUR.split(text)  # what stands between colours, and each colour, in turn
    parts[::2] = ["\n".join(map(line, part.split("\n"))) for part in parts[::2]]
    return "".join(parts)


def json_text(data: Any, *, indent: int | None = 2) -> str:
    """JSON in ASCII, with nothing in it that a CI job's runner would obey."""
    return _IN_JSON.sub(r"\\u0023", json.dumps(data, indent=indent))


def markdown(text: str) -> str:
    """Plain text inside Markdown: no markup, no link, no mention, no HTML, on one line."""
    # NUL is none of what `line` leaves, so that it can stand for what keeps a forge from noticing
    apart = _NOTICED.sub(lambda found: found.group() + "\x00", line(text))
    return _MARKDOWN.sub(_entity, apart)


def code(text: str) -> str:
    """A value inside Markdown as it is typed: one that can end no code, on one line."""
    safe = line(text)
    longest = max((len(run) for run in re.findall("`+", safe)), default=0)
    fence = "`" * (longest + 1)
    edges = safe[:1] + safe[-1:]
    pad = " " if "`" in edges or " " in edges else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def marker_name(text: str) -> str:
    """A name inside an HTML comment, which it cannot end."""
    return quote(text.encode("utf-8", "backslashreplace"), safe="")


def sarif_message(text: str) -> str:
    """The text of a SARIF message, in which `[words](address)` would be a link."""
    return line(text).replace("](", "\\](")


def workflow_property(text: str) -> str:
    """A property of a GitHub workflow command."""
    return workflow_message(text).replace(":", "%3A").replace(",", "%2C")


def workflow_message(text: str) -> str:
    """The message of a GitHub workflow command."""
    return line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _spelled(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\u{code:04x}" if code <= _LONGEST else f"\\U{code:08x}"


def _entity(found: re.Match[str]) -> str:
    return _APART if found.group() == "\x00" else f"&#{ord(found.group())};"
