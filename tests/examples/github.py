"""Runs the jobs of a workflow as GitHub does: steps in order, each with what it is given."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.examples.expressions import Expressions
from tests.examples.machine import CHECKOUT, Machine, git, run

WORKFLOWS: Final = CHECKOUT / "examples/github/workflows"
REPOSITORY: Final = "example/mail"
_COMMAND: Final = re.compile(r"^::([a-z-]+)(?: ([^:]*))?::(.*)$")
_OLD_COMMAND: Final = re.compile(r"##\[([a-z-]+)[^\]]*\](.*)$")


def workflow(name: str) -> dict[str, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((WORKFLOWS / f"{name}.yaml").read_text())
    return {"on" if key is True else key: value for key, value in loaded.items()}


@dataclass
class Run:
    """What became of a job."""

    outcome: str = "success"
    log: str = ""
    summary: str = ""
    commands: list[tuple[str, str]] = field(default_factory=list)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    folder: Path = Path()
    temp: Path = Path()


@dataclass
class GitHub:
    """A runner. `artifacts` are folders by their names; `secrets` and `variables`, what is set."""

    machine: Machine
    folder: Path
    origin: Path
    api: str = "http://127.0.0.1:9"
    token: str = ""
    event: dict[str, Any] = field(default_factory=dict)
    ref: str = "refs/heads/main"
    sha: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, Path] = field(default_factory=dict)
    runs: int = 0

    def run(self, job: Mapping[str, Any]) -> Run:
        """All steps of one job, in a workspace of its own."""
        self.runs += 1
        place = self.folder / f"run-{self.runs}"
        done = Run(folder=place / "workspace", temp=place / "temp")
        for folder in (done.folder, done.temp, self.folder / "artifacts"):
            folder.mkdir(parents=True, exist_ok=True)
        contexts = self._contexts(done)
        about = Expressions(contexts)
        if not about.holds(job.get("if", "success()")):
            done.outcome = "skipped"
            return done
        for number, step in enumerate(job["steps"]):
            here = Expressions(self._contexts(done), failed=done.outcome == "failure")
            if here.holds(step.get("if", "success()")):
                self._step(number, step, here, done)
            done.asked |= here.asked
        return done

    def _contexts(self, done: Run) -> dict[str, Any]:
        steps = {name: {"outputs": _Outputs(made)} for name, made in done.outputs.items()}
        return {
            "github": {
                "event": self.event,
                "token": self.token,
                "ref": self.ref,
                "repository": REPOSITORY,
                "sha": self.sha,
            },
            "runner": {"temp": str(done.temp)},
            "inputs": self.inputs,
            "secrets": self.secrets,
            "vars": self.variables,
            "steps": steps,
        }

    def _step(self, number: int, step: Mapping[str, Any], here: Expressions, done: Run) -> None:
        given = {key: here.text(value) for key, value in step.get("with", {}).items()}
        match step.get("uses", "").partition("@")[0]:
            case "":
                self._script(number, step, here, done)
            case "actions/checkout":
                self._check_out(given, done)
            case "actions/setup-python":
                assert given.keys() == {"python-version"}  # no cache among them
            case "actions/upload-artifact":
                kept = self.folder / "artifacts" / f"{given['name']}-{self.runs}"
                shutil.copytree(given["path"], kept)
                self.artifacts[given["name"]] = kept
            case other:
                raise AssertionError(f"nobody here can play {other}")

    def _check_out(self, given: Mapping[str, str], done: Run) -> None:
        assert given["persist-credentials"] == "false"
        depth = int(given.get("fetch-depth", "1"))
        git(done.folder, "init", "--quiet", ".")
        git(done.folder, "remote", "add", "origin", self.origin.as_uri())
        limit = [f"--depth={depth}"] if depth else []
        wanted = given.get("ref", self.sha)
        git(done.folder, "fetch", "--quiet", *limit, "origin", wanted)
        if sparse := given.get("sparse-checkout"):
            git(done.folder, "sparse-checkout", "set", *sparse.split())
        git(done.folder, "checkout", "--quiet", "--detach", "FETCH_HEAD")

    def _script(self, number: int, step: Mapping[str, Any], here: Expressions, done: Run) -> None:
        assert "${{" not in step["run"], "an expression in a script is code"
        files = {
            name: done.temp.parent / f"{name}-{number}"
            for name in ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")
        }
        for file in files.values():
            file.touch()
        environ = {
            **self.machine.environ(done.temp.parent / "home"),
            **{name: str(file) for name, file in files.items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "carol",
            "GITHUB_API_URL": self.api,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_REF": self.ref,
            "GITHUB_SHA": self.sha,
            "RUNNER_TEMP": str(done.temp),
            **{name: here.text(value) for name, value in step.get("env", {}).items()},
        }
        installs = self._installs(step, done)
        if installs and installs in self.machine.installed:
            return
        ended = run(step["run"], done.folder, environ)
        done.log += ended.log
        done.commands += _commands(ended.log)
        done.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        done.outputs[step.get("id", f"step {number}")] = _outputs(files["GITHUB_OUTPUT"])
        assert files["GITHUB_ENV"].read_text() == ""
        assert files["GITHUB_PATH"].read_text() == ""
        if ended.code:
            done.outcome = "failure"
        elif installs:
            self.machine.installed.add(installs)

    def _installs(self, step: Mapping[str, Any], done: Run) -> tuple[str, str] | None:
        """What a step installs, if it does: the same is not installed twice on one machine."""
        if not step.get("name", "").startswith("Install gateways"):
            return None
        return step["run"], (done.folder / ".github/gateways-requirements.txt").read_text()


class _Outputs(dict[str, str]):
    """An output that was not set is empty, as on GitHub."""

    def __contains__(self, _: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return ""


def _outputs(file: Path) -> dict[str, str]:
    """`name=value` lines; none of our steps writes any other, and each name once."""
    pairs = [line.partition("=") for line in file.read_text().splitlines()]
    assert all(re.fullmatch(r"[a-z-]+", name) for name, _, _ in pairs), pairs
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: value for name, _, value in pairs}


def _commands(log: str) -> list[tuple[str, str]]:
    """What the runner would take for a command, in either of its two spellings."""
    found: list[tuple[str, str]] = []
    stopped = ""
    for text in log.splitlines():
        said = _COMMAND.match(text.lstrip())
        if stopped:
            stopped = "" if text.strip() == f"::{stopped}::" else stopped
        elif said and said[1] == "stop-commands":
            stopped = said[3]
        elif said:
            found.append((said[1], said[3]))
        elif old := _OLD_COMMAND.search(text):
            found.append((old[1], old[2]))
    return found


def plan_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return found
