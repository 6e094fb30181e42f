"""What an output may hold and no more, told by a parser of its own kind."""

import json
import re
from collections import Counter
from collections.abc import Collection
from html import unescape
from html.parser import HTMLParser
from typing import Any, Final
from xml.etree import ElementTree as ET

from markdown_it import MarkdownIt
from markdown_it.token import Token

# what a terminal acts on, what turns or hides text, what is no character
_ACTS: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
# as runners of GitHub, Azure and TeamCity read a line of a log
_COMMAND: Final = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)
# as forges look for them in what has been rendered, outside of code
_NOTICED: Final = re.compile(
    r"(?<![\w])[@#!~%$&^][\w\"]|\b(?:GH|GL)-\d|\w+://|www\.|:(?!\d)[\w+-]+:",
    re.IGNORECASE | re.ASCII,
)
_TAG: Final = re.compile(r"<!--.*?-->|<[^>]*>", re.DOTALL)


def expect_terminal(text: str) -> None:
    """Lines for people, and for the log of a job."""
    assert not _ACTS.search(text), repr(_ACTS.search(text))
    expect_no_command(text)


def expect_no_command(text: str) -> None:
    assert not _COMMAND.search(text), repr(_COMMAND.search(text))


def expect_json(text: str) -> Any:
    """One value, in ASCII, that a log shows as it is."""
    assert text.isascii()
    expect_terminal(text)
    return json.loads(text)


def expect_json_lines(text: str) -> list[Any]:
    return [expect_json(one) for one in text.splitlines()]


def expect_annotations(text: str, number: int) -> list[str]:
    """Workflow commands, of which there are so many; gives what they would show."""
    lines = text.split("\n")
    assert lines.pop() == ""
    assert len(lines) == number
    shown = []
    for one in lines:
        found = re.fullmatch(r"::(?:error|warning) ([^:]*)::([^\r\n]*)", one)
        assert found, one
        properties = dict(part.split("=", 1) for part in found[1].split(","))
        assert set(properties) == {"file", "line", "col", "title"}
        shown.append(re.sub("%25", "%", found[2]))
        assert not _ACTS.search(one)
    return shown


def expect_xml(text: str) -> list[str]:
    """A document in XML; the tags in it."""
    assert not _ACTS.search(text)
    assert "<!DOCTYPE" not in text
    assert "<!ENTITY" not in text
    return [one.tag for one in ET.fromstring(text).iter()]  # noqa: S314 - no entities, see above


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[tuple[str, str]] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update((tag, name) for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.tags.append("!--")

    def handle_decl(self, decl: str) -> None:
        assert decl == "doctype html"

    def unknown_decl(self, data: str) -> None:
        self.tags.append("![")

    def handle_pi(self, data: str) -> None:
        self.tags.append("?")


def page(text: str) -> tuple[list[str], set[tuple[str, str]], str]:
    """The tags of an HTML page in order, their attributes, and its text."""
    expect_no_command(text)
    assert not _ACTS.search(text)
    parser = _Page()
    parser.feed(text)
    parser.close()
    return parser.tags, parser.attributes, "".join(parser.text)


def expect_markdown(text: str, *, tags: Collection[str]) -> Counter[str]:
    """Markdown as a forge reads it, with no HTML but `tags`; how often there is which node.

    Nothing that a forge would make a mention, a reference, a link or an emoji of.
    """
    assert not _ACTS.search(text)
    expect_no_command(text)
    assert not re.search(r"^\s*/\w", text, re.MULTILINE), "an action of GitLab's"
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = [one for block in parser.parse(text) for one in (block, *(block.children or ()))]
    for one in tokens:
        if one.type in {"html_block", "html_inline"}:
            found = {tag.split("plan:")[0] for tag in _TAG.findall(one.content)}
            assert found <= set(tags), found - set(tags)
        for seen in _seen(one):
            assert not _NOTICED.search(seen), (_NOTICED.search(seen), seen)
    kinds = Counter(one.type for one in tokens)
    refused = {"image", "link_open", "fence", "code_block", "hr", "s_open", "ordered_list_open"}
    assert not kinds.keys() & refused, kinds.keys() & refused
    for words in ("text", "text_special"):
        del kinds[words]
    return kinds


def _seen(token: Token) -> list[str]:
    """What people see of it, and forges look through."""
    if token.type == "text":
        return [token.content.replace("[!CAUTION]", "")]  # which is ours
    return [unescape(_TAG.sub("", token.content))] if token.type == "html_block" else []
