"""The composite action: it sets outputs, and the log is what gateways printed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.examples.github import GitHub, Run, workflow
from tests.examples.machine import CHECKOUT, Machine
from tests.examples.repository import Repository

ACTION = yaml.safe_load((CHECKOUT / "examples/github/plan-action/action.yml").read_text())
TRICKS = {
    "output": "::set-output name=changes::0",
    "error": " ::error file=x::approved",
    "old-output": "x ##[set-output name=blocked]0",
    "mask": "##[add-mask]create",
    "stop": "::stop-commands::x",
    "heredoc": "changes<<EOF",
}


@pytest.fixture
def github(repository: Repository, machine: Machine, tmp_path: Path) -> GitHub:
    found = GitHub(machine, tmp_path / "runner", repository.origin)
    found.inputs = {name: one["default"] for name, one in ACTION["inputs"].items()}
    return found


def act(github: GitHub, repository: Repository) -> Run:
    repository.commit("a change")
    github.sha = repository.push()
    before = workflow("gateways-apply")["jobs"]["apply"]["steps"][:3]
    return github.run({"steps": [*before, *ACTION["runs"]["steps"]]})


def outputs(run: Run) -> dict[str, str]:
    """As the action declares them."""
    declared: dict[str, Any] = ACTION["outputs"]
    return {name: run.outputs["plan"].get(name, "") for name in declared}


def test_what_a_plan_comes_to(github: GitHub, repository: Repository) -> None:
    run = act(github, repository)
    assert run.outcome == "success", run.log
    found = outputs(run)
    assert Path(found.pop("plan")).is_file()
    assert found == {"exit-code": "0", "changes": "2", "blocked": "0", "applicable": "true"}
    assert "+ create a" in run.log
    assert {name for name in ACTION["outputs"] if name not in run.outputs["plan"]} == set()


def test_each_output_is_the_one_that_its_step_sets() -> None:
    for name, one in ACTION["outputs"].items():
        assert one["value"] == f"${{{{ steps.plan.outputs.{name} }}}}"


def test_a_blocked_plan_is_no_failure_of_the_step(github: GitHub, repository: Repository) -> None:
    world = repository.world
    world.settings["targets"]["local"]["freeze"] = [
        {"from": "2020-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z", "reason": "::error::x"}
    ]
    world.write_settings()
    run = act(github, repository)
    assert run.outcome == "success", run.log
    found = outputs(run)
    assert (found["exit-code"], found["applicable"]) == ("4", "false")
    assert run.commands == []


def test_an_invalid_project_fails_the_step_with_its_code(
    github: GitHub, repository: Repository
) -> None:
    world = repository.world
    world.declare({"::error::x": world.gateway()})
    run = act(github, repository)
    assert run.outcome == "failure"
    assert run.outputs["plan"] == {"exit-code": "3"}
    assert run.commands == []


def test_inputs_are_data(github: GitHub, repository: Repository, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    github.inputs = {
        "target": f"$(touch {canary})",
        "policy-from": f"HEAD; touch {canary}",
        "against": f"HEAD$(touch {canary})",
        "folder": f"`touch {canary}`",
    }
    run = act(github, repository)
    assert run.outcome == "failure"
    assert run.outputs["plan"] == {"exit-code": "64"}
    assert not canary.exists()


def hostile(repository: Repository) -> None:
    world = repository.world
    many = {
        f"g{number}": {**world.gateway(2), "labels": {"trick": trick}, "user_id": trick[:60]}
        for number, trick in enumerate(TRICKS.values())
    }
    smtp = world.gateway(protocol_type="SMTP", default_user_name=TRICKS["output"])
    world.declare({**many, "smtp": smtp}, file="tricks.yaml")


def test_what_a_declaration_says_sets_no_output(github: GitHub, repository: Repository) -> None:
    """A22: nor is it a command to the runner, in the old spelling or the new."""
    hostile(repository)
    run = act(github, repository)
    assert run.outcome == "success", run.log
    assert run.commands == []
    found = outputs(run)
    assert (found["changes"], found["blocked"]) == ("9", "0")
    missing = [t for t in TRICKS.values() if t[-6:] not in run.log]
    assert missing == [], run.log


def test_nor_does_it_in_the_workflows(github: GitHub, repository: Repository) -> None:
    """A22: validate speaks commands of its own, and only those."""
    hostile(repository)
    world = repository.world
    bad = {name: {**world.gateway(), "port": 70000} for name in TRICKS.values()}
    repository.commit("tricks")
    github.sha, github.ref = repository.offer()[1], "refs/pull/7/merge"
    jobs = workflow("gateways-pull-request")["jobs"]
    planned = github.run(jobs["plan"])
    assert planned.outcome == "success", planned.log
    assert planned.commands == []
    assert planned.outputs["plan"] == {"code": "0"}

    world.declare(bad, file="bad.yaml")
    github.sha = repository.offer()[1]
    judged = github.run(jobs["validate"])
    assert judged.outcome == "failure"
    assert {kind for kind, _ in judged.commands} == {"error", "warning"}
    errors = [said for kind, said in judged.commands if kind == "error"]
    assert len(errors) >= len(TRICKS)
    assert not any(said in {"approved", "0", "create"} for said in errors)
