"""The workflow that comments may write, so it trusts nothing that a pull request's job left."""

import json
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from demo.mailserver.process import ServerProcess
from reconciler.engine.planfile import from_text, sealed, to_text
from reconciler.model import Place
from tests.cli.world import World
from tests.examples.github import GitHub, Run, workflow
from tests.examples.machine import Machine, git
from tests.examples.repository import Api, Repository, packed, serving
from tests.forges.forge_server import TOKEN

BRANCH = "x&state=closed#$(touch canary)`touch canary`"
MARKER = "<!-- gateways plan: local -->"


@dataclass(frozen=True)
class Offered:
    """A pull request from a fork that has been planned."""

    repository: Repository
    head: str
    base: str
    plan: Path


@pytest.fixture(scope="module")
def offered(
    mail_server: ServerProcess, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Offered:
    folder = tmp_path_factory.mktemp("offered")
    world = World(folder / "project", mail_server)
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    repository = Repository(world, machine, folder / "origin")
    base = repository.main()
    world.declare(
        {
            "a": world.gateway(port=2),
            "b": world.gateway(2),
            "c": world.gateway(2, protocol_type="SMTP"),
        }
    )
    head, merge = repository.offer()
    runner = GitHub(machine, folder / "runner", repository.origin)
    runner.sha, runner.ref = merge, "refs/pull/7/merge"
    planned = runner.run(workflow("gateways-pull-request")["jobs"]["plan"])
    assert planned.outcome == "success", planned.log
    return Offered(repository, head, base, runner.artifacts["gateways-plan"])


@pytest.fixture
def repository(offered: Offered) -> Repository:
    return offered.repository


@pytest.fixture
def api(offered: Offered) -> Iterator[Api]:
    with serving(Api(repository=offered.repository, may_ask_who=False)) as running:
        running.open_pull(offered.head, offered.base)
        running.archives[1] = packed(
            *((name, (offered.plan / name).read_bytes()) for name in ("plan.json", "plan.html"))
        )
        yield running


@pytest.fixture
def github(offered: Offered, machine: Machine, tmp_path: Path, api: Api) -> GitHub:
    """What the workflow is told of the run that has made the plan."""
    found = GitHub(machine, tmp_path / "runner", offered.repository.origin, api.url, TOKEN)
    found.artifacts["gateways-plan"] = offered.plan
    found.sha = offered.repository.main()
    found.event = {
        "repository": {"default_branch": "main"},
        "workflow_run": {
            "id": 55,
            "event": "pull_request",
            "head_sha": offered.head,
            "head_branch": BRANCH,
            "head_repository": {
                "id": 9,
                "owner": {"login": "mallory"},
                "full_name": "mallory/mail",
            },
        },
    }
    return found


def plan_text(github: GitHub) -> str:
    return (github.artifacts["gateways-plan"] / "plan.json").read_text()


def comment(github: GitHub) -> Run:
    """Run the job; whatever it says, no command of another's and no token is in its log."""
    run = github.run(workflow("gateways-comment")["jobs"]["comment"])
    assert {kind for kind, _ in run.commands} <= {"notice"}
    assert TOKEN not in run.log
    places = (github.folder, github.machine.home)
    assert not [found for place in places for found in place.rglob("canary*")]
    return run


def test_the_plan_of_a_fork_becomes_its_comment(github: GitHub, api: Api) -> None:
    """The second run replaces it. The branch's name is data on its way to the forge."""
    assert comment(github).outcome == "success"
    assert comment(github).outcome == "success"
    (body,) = api.bodies()
    assert body.startswith(MARKER)
    assert "| c | create |" in body
    assert api.queries == [f"mallory:{BRANCH}"] * 2


def test_nothing_of_the_pull_request_is_checked_out(github: GitHub, repository: Repository) -> None:
    """A23: what lies in the workspace is .github of the default branch."""
    run = comment(github)
    assert git(run.folder, "rev-parse", "HEAD") == repository.main()
    assert not (run.folder / "gateways.d").exists()


@pytest.mark.parametrize("event", ["push", "workflow_dispatch", "schedule"])
def test_only_runs_of_pull_requests_count(github: GitHub, event: str) -> None:
    github.event["workflow_run"]["event"] = event
    assert comment(github).outcome == "skipped"


def expect_silence(github: GitHub, api: Api, why: str) -> None:
    run = comment(github)
    assert run.outcome == "success", run.log
    assert why in run.log
    assert api.bodies() == []
    assert api.asked["POST"] == 0


@pytest.mark.parametrize(
    "pulls",
    [
        [],
        [{"number": 7, "head": {"sha": "0" * 40, "repo": {"full_name": "mallory/mail"}}}],
        [{"number": 7, "head": {"sha": None, "repo": None}}],
    ],
    ids=["closed", "newer-commit", "fork-is-gone"],
)
def test_no_pull_request_ends_with_the_commit(
    github: GitHub, api: Api, pulls: list[dict[str, Any]]
) -> None:
    """A24: a plan of an earlier commit is not shown as that of the newest."""
    api.pulls = [{"base": {"sha": "0" * 40}, **one} for one in pulls]
    expect_silence(github, api, "no open pull request ends with this commit")


def test_another_forks_pull_request_of_the_same_commit(github: GitHub, api: Api) -> None:
    api.pulls[0]["head"]["repo"]["full_name"] = "victim/mail"
    expect_silence(github, api, "no open pull request ends with this commit")


def test_a_number_of_more_than_digits_goes_nowhere(github: GitHub, api: Api) -> None:
    api.pulls[0]["number"] = "7/../8"
    expect_silence(github, api, "no open pull request ends with this commit")


def test_who_changes_the_workflows_gets_no_comment(
    github: GitHub, api: Api, repository: Repository
) -> None:
    """A23: such a pull request can have its job write any plan."""
    git(repository.root, "checkout", "--quiet", "change")
    file = repository.root / ".github/workflows/gateways-pull-request.yaml"
    file.write_text(file.read_text() + "# forged\n")
    head = repository.commit("forge the plan")
    repository.push("refs/pull/7/head")
    api.pulls[0]["head"]["sha"] = github.event["workflow_run"]["head_sha"] = head
    expect_silence(github, api, "changes .github")


def test_a_pull_request_behind_main_still_gets_one(
    github: GitHub, api: Api, repository: Repository
) -> None:
    """What main has changed since is not the pull request's doing."""
    git(repository.root, "checkout", "--quiet", "main")
    (repository.root / ".github/more").write_text("later\n")
    repository.commit("later")
    api.pulls[0]["base"]["sha"] = repository.push()
    assert comment(github).outcome == "success"
    assert len(api.bodies()) == 1


def test_an_artifact_with_a_number_comments_nowhere_else(github: GitHub, api: Api) -> None:
    """A23: neither a file with a number nor a plan that claims one is asked."""
    claims = {**json.loads(plan_text(github)), "number": 8, "pull_request": 8}
    api.archives[1] = packed(
        ("plan.json", plan_text(github).encode()),
        *((name, b"8\n") for name in ("pr.txt", "NR", "pr_number", "event.json")),
    )
    assert comment(github).outcome == "success"
    assert len(api.bodies()) == 1
    api.archives[1] = packed(("plan.json", json.dumps(claims).encode()))
    assert comment(github).outcome == "failure"  # the schema knows no such field
    assert len(api.bodies()) == 1


def test_an_artifact_writes_nothing_but_the_plan(github: GitHub, api: Api) -> None:
    """A23: no entry's name and no link reaches the disk."""
    link = zipfile.ZipInfo("gateways")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    api.archives[1] = packed(
        ("../../workspace/canary", b"x"),
        ("../../../../../../canary", b"x"),
        ("/tmp/../canary", b"x"),  # noqa: S108 - a name that must not be followed
        (link, b"/etc"),
        ("gateways/canary", b"x"),
        ("plan.json", plan_text(github).encode()),
    )
    run = comment(github)
    assert run.outcome == "success", run.log
    made = {path.name for path in run.temp.iterdir()}
    assert made == {"plan.json", "plan.zip", "pulls.json"}
    assert len(api.bodies()) == 1


def test_a_link_in_place_of_the_plan(github: GitHub, api: Api) -> None:
    """A23: it is read as the text that it is, and so no file of the runner is shown."""
    link = zipfile.ZipInfo("plan.json")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    api.archives[1] = packed((link, b"/proc/self/environ"))
    assert comment(github).outcome == "failure"
    assert api.bodies() == []


@pytest.mark.parametrize(
    "archive",
    [
        packed(("plan.html", b"x")),
        b"no zip at all",
        b"",
        packed(("plan.json", b" " * 40_000_000)),
    ],
    ids=["no-plan", "no-zip", "empty", "grows-large"],
)
def test_an_artifact_that_is_none(github: GitHub, api: Api, archive: bytes) -> None:
    api.archives[1] = archive
    expect_silence(github, api, "no comment: ")


def test_an_artifact_that_is_too_large_is_not_fetched(github: GitHub, api: Api) -> None:
    api.size = 20_000_001
    expect_silence(github, api, "no plan, or one that is too large")


def test_an_artifact_that_says_it_is_small(github: GitHub, api: Api) -> None:
    api.size, api.archives[1] = 100, bytes(20_000_001)
    run = comment(github)
    assert run.outcome == "failure"
    assert api.bodies() == []


def test_a_run_without_a_plan(github: GitHub, api: Api) -> None:
    api.archives.clear()
    expect_silence(github, api, "no plan, or one that is too large")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"format_version": "1.0", "::error::x": 1}',
        b'{"format_version": "\\n::error::pwned\\n##[error]pwned"}',
        b"\n::set-output name=number::8\n##[set-output name=number]8\n",
    ],
    ids=[
        *("empty", "cut", "deep"),
        *("field-as-command", "value-as-commands", "lines-as-commands"),
    ],
)
def test_a_plan_that_is_none(github: GitHub, api: Api, text: bytes) -> None:
    """A22, A23: told in a line, and none of it is a command to the runner."""
    api.archives[1] = packed(("plan.json", text))
    run = comment(github)
    assert run.outcome == "failure"
    assert run.commands == []
    assert api.bodies() == []


HOSTILE = (
    "x --> <img src=x> @team [merge](http://attacker.test)\n\n# NO CHANGES\n\n"
    "::error::x\r\n##[add-mask]x\x1b]52;c;x\x07"
)


def test_a_hostile_plan_is_text(github: GitHub, api: Api) -> None:
    """A20, A22: markup, mentions and commands in every string that its writer chooses.

    The plan fits the schema, and its digest is right: whoever writes a plan can see to that.
    """
    plan = from_text(plan_text(github), "plan.json")
    change = replace(plan.changes[0], gateway=HOSTILE, reason=HOSTILE, place=Place(HOSTILE, 1, 1))
    forged = replace(plan, target=HOSTILE, platform=HOSTILE, changes=(change,))
    api.archives[1] = packed(("plan.json", to_text(sealed(forged)).encode()))
    run = comment(github)
    assert run.outcome == "success", run.log
    assert run.commands == []
    (body,) = api.bodies()
    rendered = MarkdownIt("gfm-like", {"linkify": False}).parse(body)
    kinds = {one.type for token in rendered for one in (token, *(token.children or ()))}
    assert not {"image", "link_open"} & kinds
    assert "@team" not in body
    assert "<img" not in body
    assert body.count("-->") == 1
    assert "\x1b" not in body
    headings = [rendered[n + 1].content for n, one in enumerate(rendered) if one.tag == "h1"]
    assert headings == []
