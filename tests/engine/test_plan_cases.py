"""Every rule of the plan as a case on disk. GATEWAYS_UPDATE=1 writes what comes out; review it."""

import json
import os
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reconciler import schemas
from reconciler.engine import planfile
from reconciler.report.markdown import plan_markdown
from reconciler.report.plan import plan_text
from tests.engine.cases_on_disk import CASES, load, names, plan_of


def _expect(path: Path, text: str) -> None:
    if os.environ.get("GATEWAYS_UPDATE"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("name", names())
def test_plan(name: str) -> None:
    plan = plan_of(load(name))
    _expect(CASES / name / "plan.txt", plan_text(plan))
    _expect(CASES / name / "plan.json", planfile.to_text(plan))
    _expect(CASES / name / "plan.md", plan_markdown(plan))


@pytest.mark.parametrize("name", names())
def test_order_of_input_changes_no_byte(name: str) -> None:
    case = load(name)
    assert planfile.to_text(plan_of(case)) == planfile.to_text(plan_of(case, backwards=True))


@pytest.mark.parametrize("name", names())
def test_file_reads_back_and_fits_the_schema(name: str) -> None:
    plan = plan_of(load(name))
    text = planfile.to_text(plan)
    Draft202012Validator(schemas.load("plan")).validate(json.loads(text))
    assert planfile.to_text(planfile.from_text(text, "plan.json")) == text


def test_there_are_cases() -> None:
    assert len(names()) > 35
