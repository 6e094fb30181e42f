"""The site: every page is in its navigation, and what is wrong with a link in it is told."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from scripts.site import BESIDE, listing, moved, stage
from scripts.site_links import faults

ROOT: Final = Path(__file__).resolve().parents[2]


class _Loader(yaml.SafeLoader):
    """Reads past what makes anchors, which is Python."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in pages_of(entry)]


def navigation() -> list[str]:
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)  # noqa: S506 - a safe one
    return pages_of(settings["nav"])


def test_every_page_is_in_the_navigation_once() -> None:
    found = navigation()
    there = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert len(found) == len(set(found))
    assert set(found) - set(BESIDE) == there
    assert {name for name in BESIDE if name.endswith(".md")} <= set(found)


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("security.md", "../SECURITY.md", "SECURITY.md"),
        ("service.md", "../examples/prometheus/alerts.yml", "examples/prometheus/alerts.yml"),
        ("ci.md", "../examples/github/", "examples/github/README.md"),
        ("secrets.md", "rules.md#bad-port", "rules.md#bad-port"),
        ("monitoring.md", "images/monitoring-light.png", "images/monitoring-light.png"),
        ("SECURITY.md", "docs/security.md", "security.md"),
        ("examples/github/README.md", "../../docs/ci.md#steps", "../../ci.md#steps"),
        ("examples/github/README.md", "plan.yaml", "plan.yaml"),
        ("secrets.md", "https://getsops.io", "https://getsops.io"),
        ("secrets.md", "#keys", "#keys"),
        ("api.md", "../reconciler/model.py", "../reconciler/model.py"),
    ],
)
def test_links_follow_the_files(page: str, link: str, there: str) -> None:
    assert moved(f"see [it]({link}).", Path(page)) == f"see [it]({there})."


def test_a_folder_of_examples_has_a_page(tmp_path: Path) -> None:
    stage(ROOT, tmp_path / "docs")
    assert (tmp_path / "docs/examples/prometheus/README.md").exists()
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").mkdir()
    (tmp_path / "a/c.yml").touch()
    assert listing(tmp_path / "a") == "# a\n\n- [b/README.md](b/README.md)\n- [c.yml](c.yml)\n"


GOOD: Final = """\
<link rel="stylesheet" href="a.css"><link rel="canonical" href="https://x.example/a.html">
<h1 id="top">A</h1><a href="b.html#there">b</a><a href="#top">a</a>
<a href="https://x.example">x</a><a href="mailto:x@x.example">x</a><img src="a.png">
<img src="data:image/png;base64,AA=="><p style="background: url(a.png)">"""


def site(folder: Path, page: str, style: str = "") -> list[str]:
    (folder / "a.html").write_text(page)
    (folder / "b.html").write_text("<p id=there>")
    (folder / "a.css").write_text(style)
    (folder / "a.png").touch()
    return list(faults(folder))


def test_a_good_site_has_no_faults(tmp_path: Path) -> None:
    assert site(tmp_path, GOOD, "a { src: url('a.png'), url(data:font/woff2;base64,AA==) }") == []


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ('<a href="c.html">', "c.html leads nowhere"),
        ('<a href="b.html#no">', "b.html#no: there is no such heading"),
        ('<a href="#no">', "#no: there is no such heading"),
        ('<a href="/b.html">', "/b.html starts at the root, which a folder has not"),
        ('<a href="http://x.example">', "http://x.example is not https"),
        ('<img src="c.png">', "c.png leads nowhere"),
        ('<script src="https://x.example/a.js">', "loads https://x.example/a.js from elsewhere"),
        ('<link rel="stylesheet" href="//x.example/a">', "loads //x.example/a from elsewhere"),
        (
            '<p style="background: url(https://x.example)">',
            "loads https://x.example from elsewhere",
        ),
    ],
)
def test_a_fault_is_told(tmp_path: Path, page: str, fault: str) -> None:
    assert site(tmp_path, page) == [f"a.html: {fault}"]


def test_a_style_that_loads_from_elsewhere_is_told(tmp_path: Path) -> None:
    told = ["a.css: loads https://x.example/f.woff2 from elsewhere"]
    assert site(tmp_path, "", "@font-face { src: url(https://x.example/f.woff2) }") == told
    assert site(tmp_path, "", '@import "https://x.example/f.woff2";') == told
