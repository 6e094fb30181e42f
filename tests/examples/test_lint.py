"""The examples before anything runs: the forges' own schemas, and what is risky in a workflow."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.examples.github import WORKFLOWS
from tests.examples.gitlab import FILE
from tests.examples.machine import CHECKOUT

PROGRAMS = Path(sys.executable).parent
TEMPLATE = CHECKOUT / "reconciler/templates/init/workflow.yaml"
ACTION = CHECKOUT / "examples/github/plan-action/action.yml"
ALL = sorted([*WORKFLOWS.iterdir(), TEMPLATE])


def lint(program: str, *arguments: str | Path) -> str:
    found = shutil.which(program, path=str(PROGRAMS))
    assert found, f"{program} is not in the locked environment: make setup"
    command = [found, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("path", [*ALL, ACTION], ids=lambda path: path.name)
def test_zizmor_finds_nothing(path: Path) -> None:
    """A1: its strictest persona, offline."""
    assert lint("zizmor", "--offline", "--no-config", "--persona=auditor", path) == ""


def test_zizmor_would_find_something(tmp_path: Path) -> None:
    text = (WORKFLOWS / "gateways-pull-request.yaml").read_text()
    bad = tmp_path / "bad.yaml"
    bad.write_text(text.replace("  pull_request:", "  pull_request_target:"))
    assert "dangerous-triggers" in lint("zizmor", "--offline", "--no-config", bad)


@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        ("vendor.github-workflows", ALL),
        ("vendor.github-actions", [ACTION]),
        ("vendor.gitlab-ci", [FILE]),
    ],
)
def test_the_forges_schemas(kind: str, paths: list[Path]) -> None:
    more = ["--data-transform=gitlab-ci"] if kind == "vendor.gitlab-ci" else []
    assert lint("check-jsonschema", f"--builtin-schema={kind}", *more, *paths) == ""


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_little_is_allowed_and_all_is_pinned(path: Path) -> None:
    """A1, A22, A25: rights job by job, no expression in a script, no end without a limit."""
    text = path.read_text()
    loaded: dict[Any, Any] = yaml.safe_load(text)
    assert loaded["permissions"] == {}
    assert "pull_request_target:" not in text
    assert not re.search(r"\bcache\b.*:", text)
    for used, version in re.findall(r"uses: (\S+)(.*)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", version)
    for job in loaded["jobs"].values():
        assert job["timeout-minutes"]
        assert job["permissions"].get("contents") == "read"
        writes = {right for right, may in job["permissions"].items() if may != "read"}
        assert writes == ({"pull-requests"} if path.name == "gateways-comment.yaml" else set())
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")
            assert step.get("with", {}).get("persist-credentials", False) is False


def test_one_commit_for_each_action() -> None:
    found = {used for path in ALL for used in re.findall(r"uses: (\S+)", path.read_text())}
    assert len({used.partition("@")[0] for used in found}) == len(found)


def test_secrets_are_asked_for_in_environments_only() -> None:
    for path in ALL:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            assert "environment" in job or "secrets." not in str(job)
