"""Every string from outside is data for its sink: terminal, log, Markdown, workflow command."""

import re
from typing import Final

# control characters, those that reorder or hide text (Trojan Source, CVE-2021-42574), and what no
# encoding can hold
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\ufffe\uffff]"
)
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&@:/])")


def line(text: str) -> str:
    """One line for a terminal: whatever could move the cursor, colour or hide is spelled out."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def log_line(text: str) -> str:
    """`line`, and unable to pass for a command of a CI log, which begin with two colons."""
    safe = line(text)
    return safe.replace("::", ":\\u003a") if safe.lstrip().startswith("::") else safe


def markdown(text: str) -> str:
    """Plain text inside Markdown: no markup, no link, no mention, no HTML, on one line."""
    return _MARKDOWN.sub(_entity, line(text))


def _entity(found: re.Match[str]) -> str:
    # Forges look for mentions and references after decoding: a space of no width keeps them apart.
    apart = "&#8203;" if found.group() in "@#" else ""
    return f"&#{ord(found.group())};{apart}"


def workflow_property(text: str) -> str:
    """A property of a GitHub workflow command."""
    return workflow_message(text).replace(":", "%3A").replace(",", "%2C")


def workflow_message(text: str) -> str:
    """The message of a GitHub workflow command."""
    return line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
