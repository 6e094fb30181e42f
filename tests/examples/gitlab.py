"""Runs the jobs of our .gitlab-ci.yml as a runner of GitLab does."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.examples.expressions import Expressions
from tests.examples.machine import CHECKOUT, Ended, Machine, git, run

FILE: Final = CHECKOUT / "examples/gitlab/.gitlab-ci.yml"
PIPELINE: Final[Mapping[str, Any]] = yaml.safe_load(FILE.read_text())
JOBS: Final = ("validate", "plan", "comment", "apply", "drift")


@dataclass
class GitLab:
    """`variables` are what a pipeline is given; `kept` are the artifacts of its jobs."""

    machine: Machine
    folder: Path
    origin: Path
    variables: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Path] = field(default_factory=dict)
    runs: int = 0

    def starts(self) -> list[str]:
        """The jobs that a pipeline with these variables has."""
        return [name for name in JOBS if self._wanted(PIPELINE[name])]

    def _wanted(self, job: Mapping[str, Any]) -> bool:
        return any(Expressions(self.variables).holds(rule["if"]) for rule in job["rules"])

    def run(self, name: str) -> Ended:
        """A job's scripts are one script; its artifacts are kept however it ends."""
        self.runs += 1
        job = PIPELINE[name]
        assert self._wanted(job)
        place = self.folder / f"run-{self.runs}"
        place.mkdir(parents=True)
        workspace = place / "workspace"
        git(place, "clone", "--quiet", "--no-checkout", self.origin.as_uri(), str(workspace))
        git(workspace, "fetch", "--quiet", "origin", self.variables["CI_COMMIT_SHA"])
        git(workspace, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        for needed in job.get("needs", ()):
            if needed in self.kept:
                shutil.copytree(self.kept[needed], workspace / needed, symlinks=True)
        environ = {
            **self.machine.environ(place / "home"),
            "GITLAB_CI": "true",
            "TMPDIR": str(place),
            **{key: str(value) for key, value in PIPELINE["variables"].items()},
            **self.variables,
        }
        ended = run("\n".join([*self._before(workspace), *job["script"]]), workspace, environ)
        for path in job.get("artifacts", {}).get("paths", ()):
            if (workspace / path).exists():
                self.kept[name] = place / "kept"
                shutil.copytree(workspace / path, self.kept[name])
        return ended

    def _before(self, workspace: Path) -> list[str]:
        """What comes first in every job; the same is not installed twice on one machine."""
        before: list[str] = PIPELINE["default"]["before_script"]
        pins = (workspace / ".gitlab/gateways-requirements.txt").read_text()
        wanted = ("\n".join(before), pins)
        if wanted in self.machine.installed:
            return before[:1]
        self.machine.installed.add(wanted)
        return before
