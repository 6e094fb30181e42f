"""The pipeline for GitLab: which jobs a pipeline has, and each of them run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.elsewhere import Elsewhere, elsewhere, live_on
from tests.examples.github import plan_of
from tests.examples.gitlab import PIPELINE, GitLab
from tests.examples.machine import Machine
from tests.examples.repository import Api, Repository, serving
from tests.forges.forge_server import TOKEN

REQUEST = {
    "CI_PIPELINE_SOURCE": "merge_request_event",
    "CI_PROJECT_ID": "example/mail",
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_PROJECT_ID": "1",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1",
    "CI_DEFAULT_BRANCH": "main",
}
PUSH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"}
NIGHT = {**PUSH, "CI_PIPELINE_SOURCE": "schedule", "GATEWAYS_NIGHTLY": "drift"}


@pytest.fixture
def gitlab(repository: Repository, machine: Machine, tmp_path: Path) -> GitLab:
    return GitLab(machine, tmp_path / "runner", repository.origin)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Elsewhere]:
    with elsewhere(tmp_path / "service") as found:
        yield found


def requested(gitlab: GitLab, repository: Repository, **more: str) -> None:
    base = repository.main()
    _, merge = repository.offer()
    gitlab.variables = {
        **REQUEST,
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
        "CI_COMMIT_SHA": merge,
        **more,
    }


@pytest.mark.parametrize(
    ("variables", "jobs"),
    [
        (REQUEST, ["validate", "plan"]),
        ({**REQUEST, "GATEWAYS_COMMENT_TOKEN": "x"}, ["validate", "plan", "comment"]),
        (
            {
                **REQUEST,
                "GATEWAYS_COMMENT_TOKEN": "x",
                "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2",
            },
            ["validate", "plan"],
        ),
        (PUSH, ["apply"]),
        ({**PUSH, "CI_COMMIT_BRANCH": "other"}, []),
        (NIGHT, ["drift"]),
        ({**NIGHT, "CI_COMMIT_BRANCH": "other"}, []),
        ({**NIGHT, "GATEWAYS_NIGHTLY": ""}, []),
    ],
)
def test_which_jobs_a_pipeline_has(
    gitlab: GitLab, variables: dict[str, str], jobs: list[str]
) -> None:
    """A1: what comes from a fork reaches no job that has a token."""
    gitlab.variables = variables
    assert gitlab.starts() == jobs


def test_a_merge_request_from_validate_to_comment(gitlab: GitLab, repository: Repository) -> None:
    """A1, A2: nothing but the comment needs a token, and each job installs what the base pins.

    The second comment replaces the first.
    """
    canary = repository.root.parent / "canary"
    for name in ("pip", "venv", "yaml", "sitecustomize"):
        (repository.root / f"{name}.py").write_text(f"open({str(canary)!r}, 'a').write('x')\n")
    (repository.root / ".gitlab/gateways-requirements.txt").write_text("./yaml.py\n")
    world = repository.world
    world.declare(
        {
            "a": world.gateway(port=2),
            "b": world.gateway(2),
            "c": world.gateway(2, protocol_type="SMTP"),
        }
    )
    requested(gitlab, repository)
    for name in ("validate", "plan"):
        ended = gitlab.run(name)
        assert ended.code == 0, ended.log
    assert [one["gateway"] for one in plan_of(gitlab.kept["plan"])["changes"]] == ["a", "c"]
    assert (gitlab.kept["plan"] / "plan.html").read_text().startswith("<!doctype html>")
    with serving(Api()) as api:
        gitlab.variables |= {"CI_API_V4_URL": api.url, "GATEWAYS_COMMENT_TOKEN": TOKEN}
        for _ in range(2):
            ended = gitlab.run("comment")
            assert ended.code == 0, ended.log
            assert TOKEN not in ended.log
        (body,) = api.bodies()
    assert "| c | create |" in body
    assert not canary.exists()


def test_a_merge_request_that_is_invalid(gitlab: GitLab, repository: Repository) -> None:
    world = repository.world
    world.declare({"a": world.gateway(port=70000)})
    requested(gitlab, repository)
    ended = gitlab.run("validate")
    assert ended.code == 3
    assert "error[bad-port]" in ended.log
    report = gitlab.folder / "run-1/workspace/validate.xml"
    assert "bad-port" in report.read_text()
    assert gitlab.run("plan").code == 3


def test_a_merge_request_that_is_blocked_keeps_its_plan(
    gitlab: GitLab, repository: Repository
) -> None:
    world = repository.world
    world.settings["targets"]["local"]["freeze"] = [
        {"from": "2020-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z", "reason": "holidays"}
    ]
    world.write_settings()
    repository.commit("a freeze")
    repository.push()
    world.declare({"a": world.gateway(), "b": world.gateway(2, encoding_mode="GBK")})
    requested(gitlab, repository)
    assert gitlab.run("plan").code == 4
    assert plan_of(gitlab.kept["plan"])["applicable"] is False
    assert (gitlab.kept["plan"] / "plan.html").exists()


def test_a_link_or_a_large_file_in_place_of_the_plan(
    gitlab: GitLab, repository: Repository, tmp_path: Path
) -> None:
    """A23: neither is read."""
    requested(gitlab, repository, GATEWAYS_COMMENT_TOKEN=TOKEN)
    kept = tmp_path / "kept"
    kept.mkdir()
    gitlab.kept["plan"] = kept
    with serving(Api()) as api:
        gitlab.variables["CI_API_V4_URL"] = api.url
        (kept / "plan.json").symlink_to("/proc/self/environ")
        assert gitlab.run("comment").code == 1
        (kept / "plan.json").unlink()
        with (kept / "plan.json").open("wb") as file:
            file.truncate(20_000_001)
        assert gitlab.run("comment").code == 1
        assert not api.asked


def test_merge_apply_and_drift(gitlab: GitLab, repository: Repository, there: Elsewhere) -> None:
    world = repository.world
    live_on(there, world)
    repository.commit("a service")
    gitlab.variables = {
        **PUSH,
        "CI_COMMIT_SHA": repository.push(),
        "GITLAB_USER_LOGIN": "carol",
        "SOPS_AGE_KEY": world.environ["SOPS_AGE_KEY"],
        "GATEWAYS_TOKEN": world.environ["GATEWAYS_TOKEN"],
    }
    applied = gitlab.run("apply")
    assert applied.code == 0, applied.log
    assert "2 done, 0 failed, 0 skipped" in applied.log
    assert there.actions() == [("a", "create"), ("b", "create")]
    sha = gitlab.variables["CI_COMMIT_SHA"]
    gitlab.variables = {**NIGHT, "CI_COMMIT_SHA": sha, "GATEWAYS_TOKEN": there.token("read")}
    assert gitlab.run("drift").code == 0
    assert world.run("disconnect", "a").code == 0  # by hand
    found = gitlab.run("drift")
    assert found.code == 2
    assert "disconnected" in found.log


def test_only_apply_deploys_to_production() -> None:
    """A25: one at a time, never cancelled, and without a cache."""
    apply = PIPELINE["apply"]
    assert apply["environment"] == "production"
    assert apply["resource_group"]
    assert apply["interruptible"] is False
    assert "cache" not in {key for job in PIPELINE.values() if isinstance(job, dict) for key in job}
    others = [PIPELINE[name] for name in ("validate", "plan", "comment")]
    assert not any("environment" in job for job in others)
