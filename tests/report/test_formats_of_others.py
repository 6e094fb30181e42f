"""SARIF and JUnit, held to the schemas of those who read them."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest
import xmlschema
from jsonschema import Draft4Validator

from reconciler.model import Place, Severity
from reconciler.report.junit import judgement_junit
from reconciler.report.problems import Judgement
from reconciler.report.safe import json_text
from reconciler.report.sarif import judgement_sarif
from tests.hostile import everywhere
from tests.hostile.corpus import SHORT
from tests.report.test_formats import WARNING, problem

SCHEMAS: Final = Path(__file__).parent / "schemas"
OTHER: Final = problem(place=Place("gateways.yaml", 1, 1), hint="", path="")
JUDGEMENTS: Final = {
    "nothing": Judgement([], 0, 0),
    "an error": Judgement([problem()], 1, 1),
    "a warning": Judgement([WARNING], 1, 1),
    "both, in two files": Judgement([problem(), WARNING, OTHER], 2, 3),
    "many": Judgement([problem(place=Place(f"{n}.yaml", n, n)) for n in range(1, 300)], 299, 299),
    "everything hostile": Judgement(
        [everywhere.problem(text, severity) for text in SHORT.values() for severity in Severity],
        1,
        1,
    ),
}

each = pytest.mark.parametrize("name", JUDGEMENTS)


@cache
def sarif() -> Draft4Validator:
    schema = json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text())
    Draft4Validator.check_schema(schema)
    return Draft4Validator(schema)


@cache
def junit() -> xmlschema.XMLSchema10:
    return xmlschema.XMLSchema10(SCHEMAS / "junit-10.xsd")


@each
def test_sarif(name: str) -> None:
    log = json.loads(json_text(judgement_sarif(JUDGEMENTS[name], "0.1.0")))
    assert [error.message for error in sarif().iter_errors(log)] == []
    assert len(log["runs"][0]["results"]) == len(JUDGEMENTS[name].problems)


@each
def test_junit(name: str) -> None:
    text = judgement_junit(JUDGEMENTS[name])
    root = ET.fromstring(text.encode())  # noqa: S314 - ours, and without entities
    assert [error.reason for error in junit().iter_errors(root)] == []
    cases = list(root.iter("testcase"))
    assert root.get("tests") == str(len(cases))
    failed = [case for case in cases if case.find("failure") is not None]
    assert root.get("failures") == str(len(failed))


@pytest.mark.parametrize(
    "damage",
    [
        lambda log: log.update(version="2.0.0"),
        lambda log: log["runs"][0]["results"][0].update(level="fatal"),
        lambda log: log["runs"][0]["results"][0].pop("message"),
    ],
)
def test_what_is_no_sarif_is_told(damage: Any) -> None:
    log = judgement_sarif(JUDGEMENTS["an error"], "0.1.0")
    damage(log)
    assert list(sarif().iter_errors(log))


def test_what_is_no_junit_is_told() -> None:
    root = ET.fromstring(judgement_junit(JUDGEMENTS["an error"]))  # noqa: S314 - ours
    ET.SubElement(root[0], "testcases")
    assert list(junit().iter_errors(root))
