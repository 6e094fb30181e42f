"""The workflows for GitHub, each job run as its runner would, on a project with a forge."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.elsewhere import Elsewhere, elsewhere, live_on
from tests.cli.world import CANARY
from tests.examples.github import GitHub, Run, plan_of, workflow
from tests.examples.machine import Machine
from tests.examples.repository import Repository

SECRET = re.compile("TOKEN|KEY|SECRET|PASSWORD")


@pytest.fixture
def github(repository: Repository, machine: Machine, tmp_path: Path) -> GitHub:
    return GitHub(machine, tmp_path / "runner", repository.origin)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Elsewhere]:
    with elsewhere(tmp_path / "service") as found:
        yield found


def job(name: str, which: str) -> dict[str, Any]:
    found: dict[str, Any] = workflow(name)["jobs"][which]
    return found


def request_by(github: GitHub, repository: Repository, message: str = "a change") -> None:
    """A pull request is opened, and what its jobs are told of it."""
    _, merge = repository.offer(message)
    github.sha, github.ref = merge, "refs/pull/7/merge"


def merged(github: GitHub, repository: Repository) -> None:
    github.sha, github.ref = repository.accept(), "refs/heads/main"


def test_a_pull_request_is_judged_and_planned_without_any_secret(
    github: GitHub, repository: Repository
) -> None:
    """A1: neither job asks for a secret, or is given one by its environment."""
    world = repository.world
    world.declare(
        {
            "a": world.gateway(port=2),
            "b": world.gateway(2),
            "c": world.gateway(2, protocol_type="SMTP"),
        }
    )
    request_by(github, repository)
    judged = github.run(job("gateways-pull-request", "validate"))
    assert judged.outcome == "success", judged.log
    reports = github.artifacts["gateways-reports"]
    assert sorted(path.name for path in reports.iterdir()) == ["validate.junit", "validate.sarif"]

    planned = github.run(job("gateways-pull-request", "plan"))
    assert planned.outcome == "success", planned.log
    plan = github.artifacts["gateways-plan"]
    assert sorted(path.name for path in plan.iterdir()) == ["plan.html", "plan.json"]
    assert [one["gateway"] for one in plan_of(plan)["changes"]] == ["a", "c"]
    assert plan_of(plan)["git"] == {"commit": github.sha, "dirty": False}
    assert "create" in planned.summary
    for run in (judged, planned):
        assert run.commands == []
        assert not any(name.startswith("secrets.") or "token" in name for name in run.asked)


def test_the_jobs_of_a_pull_request_have_no_secret_in_their_environment(
    github: GitHub, repository: Repository
) -> None:
    """A1: what a script of such a job could print."""
    request_by(github, repository)
    for which in ("validate", "plan"):
        steps = [*job("gateways-pull-request", which)["steps"][:2]]
        shown = {key for step in job("gateways-pull-request", which)["steps"] for key in _env(step)}
        assert not any(SECRET.search(name) for name in shown)
        run = github.run({"steps": [*steps, {"name": "look", "run": "env"}]})
        names = {line.partition("=")[0] for line in run.log.splitlines()}
        assert not any(SECRET.search(name) for name in names), names


def _env(step: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = step.get("env", {})
    return found


def test_what_is_invalid_is_annotated_and_reported(github: GitHub, repository: Repository) -> None:
    world = repository.world
    world.declare({"a": world.gateway(port=70000)})
    request_by(github, repository)
    judged = github.run(job("gateways-pull-request", "validate"))
    assert judged.outcome == "failure"
    assert judged.commands[0][0] == "error"
    assert "70000" in judged.log
    assert "bad-port" in (github.artifacts["gateways-reports"] / "validate.sarif").read_text()
    planned = github.run(job("gateways-pull-request", "plan"))
    assert planned.outcome == "failure"
    assert "gateways-plan" not in github.artifacts


def test_a_pull_request_cannot_loosen_the_policy_that_it_is_planned_under(
    github: GitHub, repository: Repository
) -> None:
    """A blocked plan is kept for the reviewer, and the job fails."""
    world = repository.world
    world.settings["targets"]["local"]["allow_hosts"] = ["localhost"]
    world.write_settings()
    repository.commit("a policy")
    repository.push()
    world.settings["targets"]["local"]["allow_hosts"] = ["*.attacker.test", "localhost"]
    world.write_settings()
    world.declare({"a": world.gateway(host="mail.attacker.test")})
    request_by(github, repository)
    planned = github.run(job("gateways-pull-request", "plan"))
    assert planned.outcome == "failure"
    assert "allow" in planned.log + planned.summary


def test_a_pull_request_cannot_bring_its_own_tool(github: GitHub, repository: Repository) -> None:
    """A2: the base pins what is installed; what else lies in the tree is not imported."""
    canary = repository.root.parent / "canary"
    bad = f"open({str(canary)!r}, 'a').write(__file__)\n"
    for name in ("pip", "yaml", "sitecustomize", "usercustomize", "click", "reconciler"):
        (repository.root / f"{name}.py").write_text(bad)
    (repository.root / "jsonschema").mkdir()
    (repository.root / "jsonschema/__init__.py").write_text(bad)
    (repository.root / ".env").write_text("PYTHONPATH=.\n")
    (repository.root / "conftest.py").write_text(bad)
    (repository.root / ".github/gateways-requirements.txt").write_text("./reconciler.py\n")
    request_by(github, repository)
    for which in ("validate", "plan"):
        run = github.run(job("gateways-pull-request", which))
        assert run.outcome == "success", run.log
    assert not canary.exists()


def test_a_wheel_that_is_not_the_pinned_one_is_not_installed(
    github: GitHub, repository: Repository, machine: Machine
) -> None:
    """A2: by its hash."""
    pin = repository.root / ".github/gateways-requirements.txt"
    pin.write_text(machine.pin("0" * 64))
    repository.commit("another wheel")
    repository.push()
    request_by(github, repository)
    steps = job("gateways-pull-request", "validate")["steps"]
    run = github.run({"steps": steps})
    assert run.outcome == "failure"
    assert "DO NOT MATCH THE HASHES" in run.log


def test_merge_apply_and_drift(github: GitHub, repository: Repository, there: Elsewhere) -> None:
    """A25: apply has no cache and takes nothing that a pull request's job made."""
    world = repository.world
    live_on(there, world)
    repository.commit("a service")
    repository.push()
    token = world.environ["GATEWAYS_TOKEN"]
    gateways = {"a": world.gateway(), "b": world.gateway(2), "c": world.gateway(2)}
    world.declare(gateways)
    request_by(github, repository)
    planned = github.run(job("gateways-pull-request", "plan"))
    assert planned.outcome == "success", "without a token it compares with what the base declares"
    plan = plan_of(github.artifacts["gateways-plan"])
    assert [(one["gateway"], one["action"]) for one in plan["changes"]] == [("c", "create")]
    assert plan["against"] == plan["policy_from"] == repository.main()
    github.variables["GATEWAYS_COMPARE"] = "platform"
    planned = github.run(job("gateways-pull-request", "plan"))
    assert planned.outcome == "failure"
    assert "environment variable GATEWAYS_TOKEN is not set" in planned.log

    merged(github, repository)
    github.secrets = {
        "GATEWAYS_TOKEN": token,
        "SOPS_AGE_KEY": world.environ["SOPS_AGE_KEY"],
        "GATEWAYS_READ_TOKEN": there.token("read"),
    }
    applied = github.run(job("gateways-apply", "apply"))
    assert applied.outcome == "success", applied.log
    assert "3 done, 0 failed, 0 skipped" in applied.summary
    assert applied.commands == []
    expect_no_secret(applied, github)
    assert there.actions() == [("a", "create"), ("b", "create"), ("c", "create")]
    assert {one.actor for one in there.audit() if one.gateway} == {"carol"}

    quiet = github.run(job("gateways-drift", "drift"))
    assert quiet.outcome == "success", quiet.log
    gateways["c"]["labels"] = {"team": "returns"}
    world.declare(gateways)
    request_by(github, repository)
    merged(github, repository)
    waiting = github.run(job("gateways-drift", "drift"))  # for its apply, which is no drift
    assert waiting.outcome == "success", waiting.log
    assert world.run("disconnect", "a").code == 0  # by hand
    loud = github.run(job("gateways-drift", "drift"))
    assert loud.outcome == "failure"
    assert "disconnected" in loud.summary
    assert [kind for kind, _ in loud.commands] == ["error"]
    expect_no_secret(loud, github)


def expect_no_secret(run: Run, github: GitHub) -> None:
    said = run.log + run.summary + str(run.outputs)
    for secret in (*github.secrets.values(), CANARY):
        assert secret not in said


def test_apply_runs_on_the_default_branch_only(github: GitHub, repository: Repository) -> None:
    github.sha, github.ref = repository.main(), "refs/heads/other"
    for name, which in (("gateways-apply", "apply"), ("gateways-drift", "drift")):
        assert github.run(job(name, which)).outcome == "skipped"


@pytest.mark.parametrize("name", ["gateways-apply", "gateways-drift", "gateways-comment"])
def test_jobs_with_secrets_start_from_no_pull_request(name: str) -> None:
    """A1, A25: no cache either, in any workflow."""
    triggers = workflow(name)["on"]
    assert not {"pull_request", "pull_request_target", "issue_comment"} & set(triggers)
    assert "cache" not in str(workflow(name)).lower()


def test_one_apply_at_a_time_and_none_is_cancelled() -> None:
    assert workflow("gateways-apply")["concurrency"]["cancel-in-progress"] is False
    assert job("gateways-apply", "apply")["environment"] == "production"
