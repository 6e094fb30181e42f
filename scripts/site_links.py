"""Whether every link of a built site leads somewhere, and nothing is loaded from elsewhere.

Links to other sites are only looked at for their form, https: nothing here opens a connection.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

# what a browser loads by itself, and what it only goes to when somebody says so
LOADS: Final = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("object", "data"),
    ("link", "href"),
    ("form", "action"),
}
GOES: Final = {("a", "href")}
STYLE: Final = re.compile(r"url\(\s*[\"']?(?!data:)([^\"')]+)|@import\s+[\"']([^\"']+)")


@dataclass(slots=True)
class Page:
    """What a page loads, where it leads, and which anchors it has."""

    loads: list[str] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag, name) == ("a", "name"):
                self.page.anchors.add(value or "")
            elif (tag, name) in LOADS and ("rel", "canonical") not in attrs:
                self.page.loads.append(value or "")
            elif (tag, name) in GOES:
                self.page.leads.append(value or "")
            elif name == "style":
                self.page.loads += styles(value or "")


def styles(text: str) -> list[str]:
    return [url or imported for url, imported in STYLE.findall(text)]


def read(path: Path) -> Page:
    reader = _Reader()
    reader.feed(path.read_text())
    reader.close()
    return reader.page


def faults(site: Path) -> Iterator[str]:
    """One line for each link that leads nowhere, and each load from elsewhere."""
    pages = {path.resolve(): read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        loads = (_load(path, target, pages) for target in page.loads)
        leads = (_lead(path, target, pages) for target in page.leads)
        yield from (f"{name}: {fault}" for fault in (*loads, *leads) if fault)
    for path in sorted(site.rglob("*.css")):
        for target in styles(path.read_text()):
            if elsewhere(target):
                yield f"{path.relative_to(site)}: loads {target} from elsewhere"


def _load(page: Path, target: str, pages: dict[Path, Page]) -> str:
    if target.startswith("data:"):
        return ""
    return f"loads {target} from elsewhere" if elsewhere(target) else local(page, target, pages)


def _lead(page: Path, target: str, pages: dict[Path, Page]) -> str:
    if not elsewhere(target):
        return local(page, target, pages)
    return "" if urlsplit(target).scheme in {"https", "mailto"} else f"{target} is not https"


def elsewhere(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.scheme or parts.netloc)


def local(page: Path, target: str, pages: dict[Path, Page]) -> str:
    """What is wrong with a link inside the site, or ""."""
    parts = urlsplit(target)
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if parts.path.startswith("/"):
        return f"{target} starts at the root, which a folder has not"
    if path.is_dir() or not path.exists():
        return f"{target} leads nowhere"
    anchor = unquote(parts.fragment)
    if anchor and path in pages and anchor not in pages[path].anchors:
        return f"{target}: there is no such heading"
    return ""
