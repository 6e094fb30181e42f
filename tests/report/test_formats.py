"""SARIF, JUnit and HTML: for other programs, and for a colleague without this one."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

from reconciler.model import Change, Place, Problem, Severity
from reconciler.report.html import plan_html
from reconciler.report.junit import judgement_junit
from reconciler.report.problems import Judgement
from reconciler.report.sarif import judgement_sarif
from tests.report.test_comment import edit, plan


def problem(message: str = "port must be from 1 to 65535, not 70000", **fields: object) -> Problem:
    given = {
        "place": Place("gateways.d/mail ä.yaml", 7, 11),
        "path": "gateways.a.port",
        "rule": "bad-port",
        "severity": Severity.ERROR,
        "hint": "usual ports: 465",
        **fields,
    }
    return Problem(message=message, **given)  # type: ignore[arg-type]


WARNING = problem("not encrypted", rule="plaintext-connection", severity=Severity.WARNING)


def test_sarif_points_at_the_value() -> None:
    log = judgement_sarif(Judgement([problem(), WARNING], 1, 1), "0.1.0")
    (run,) = log["runs"]
    assert (log["version"], [one["id"] for one in run["tool"]["driver"]["rules"]]) == (
        "2.1.0",
        ["bad-port", "plaintext-connection"],
    )
    first, second = run["results"]
    assert (first["level"], second["level"]) == ("error", "warning")
    where = first["locations"][0]["physicalLocation"]
    assert where["artifactLocation"]["uri"] == "gateways.d/mail%20%C3%A4.yaml"
    assert where["region"] == {"startLine": 7, "startColumn": 11}
    for one in run["results"]:
        assert run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"]


def test_junit_fails_by_errors_alone() -> None:
    other = problem(place=Place("gateways.yaml", 1, 1))
    warned = problem("w", severity=Severity.WARNING, place=Place("gateways.d/b.yaml", 1, 1))
    root = ET.fromstring(judgement_junit(Judgement([problem(), other, warned], 3, 3)))  # noqa: S314
    assert (root.get("tests"), root.get("failures")) == ("3", "2")
    failed = {
        case.get("name") for case in root.iter("testcase") if case.find("failure") is not None
    }
    assert failed == {"gateways.d/mail ä.yaml", "gateways.yaml"}


def test_without_problems_something_passes() -> None:
    root = ET.fromstring(judgement_junit(Judgement([], 3, 3)))  # noqa: S314
    assert (root.get("tests"), root.get("failures")) == ("1", "0")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes.update(name for name, _ in attrs)


def tags_of(page: str) -> _Tags:
    tags = _Tags()
    tags.feed(page)
    return tags


def test_the_page_needs_nothing_else() -> None:
    page = plan_html(plan(edit(), Change("b", edit().action, "r")))
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=|@import|url\(", page)
    assert not {"script", "link", "img", "iframe"} & set(tags_of(page).seen)
