"""Links between the documents lead somewhere, as GitHub shows them: files, and headings in them.

No connection is made: of links to other sites only the form is looked at.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from scripts.reference.markdown import slug

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")]
)
MARKDOWN: Final = MarkdownIt("gfm-like", {"linkify": False})


@cache
def tokens(text: str) -> tuple[Token, ...]:
    found = MARKDOWN.parse(text)
    return tuple(inner for token in found for inner in (token, *(token.children or ())))


@cache
def headings(text: str) -> frozenset[str]:
    """Anchors; the second heading of one name ends in -1."""
    return frozenset(_headings(text))


def _headings(text: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    found = MARKDOWN.parse(text)
    for before, token in pairwise(found):
        if before.type == "heading_open":
            words = "".join(
                inner.content for inner in token.children or () if inner.type != "link_open"
            )
            name = slug(words)
            number = seen[name] = seen.get(name, -1) + 1
            yield f"{name}-{number}" if number else name


def links(text: str) -> Iterator[str]:
    for token in tokens(text):
        target = token.attrGet("href") or token.attrGet("src")
        if target:
            yield str(target)


def faults(page: Path, text: str) -> Iterator[str]:
    for link in links(text):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            if parts.scheme not in {"https", "mailto"}:
                yield f"{link} is not https"
            continue
        path = page.parent / unquote(parts.path) if parts.path else page
        if not path.exists():
            yield f"{link} leads nowhere"
        elif parts.fragment and path.suffix == ".md":
            other = text if path == page else path.read_text()
            if unquote(parts.fragment) not in headings(other):
                yield f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(faults(page, page.read_text())) == []


def test_the_check_can_fail(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "# A `b` c\n\n# A b c\n\n[1](#a-b-c) [2](#a-b-c-1) [3](#no) [4](no.md) [5](http://x.example)"
    page.write_text(text)
    assert list(faults(page, text)) == [
        "#no: there is no such heading",
        "no.md leads nowhere",
        "http://x.example is not https",
    ]


def test_every_picture_is_shown() -> None:
    shown = {link for page in PAGES for link in links(page.read_text())}
    for picture in (ROOT / "docs/images").iterdir():
        # a picture of a certain width is HTML, which the parser leaves as it is
        page = (ROOT / "docs/monitoring.md").read_text()
        assert f"images/{picture.name}" in shown or f'src="images/{picture.name}"' in page
