"""Our hooks under the real pre-commit: what they catch, and what does not start them.

The hooks for other repositories run as `language: system` here, so that nothing is fetched: the
programs that they start are those of the environment that the tests run in.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
PROGRAMS: Final = Path(sys.executable).parent
PRE_COMMIT: Final = shutil.which("pre-commit", path=str(PROGRAMS)) or shutil.which("pre-commit")
GIT: Final = shutil.which("git")

pytestmark = pytest.mark.skipif(
    not (PRE_COMMIT and GIT) and not os.environ.get("CI"),
    reason="needs git, and pre-commit of the locked requirements",
)


class Repository:
    """A git repository made by `gateways init`, whose hooks are those for other repositories."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "mail"
        self._environment = {
            "HOME": str(home),
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "PRE_COMMIT_HOME": str(home / "pre-commit"),
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        self.run("gateways", "-C", str(home), "init", "mail")
        self.run(str(GIT), "init", "--quiet", ".")
        self.run(str(GIT), "add", "--all")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        where = self.folder if self.folder.exists() else self.folder.parent
        return subprocess.run(
            [shutil.which(command[0], path=str(PROGRAMS)) or command[0], *command[1:]],
            cwd=where,
            env=self._environment,
            check=check,
            capture_output=True,
            text=True,
        )

    def offer_hooks_for_others(self) -> None:
        hooks: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
        local = [hook | {"language": "system"} for hook in hooks]
        text = yaml.safe_dump({"repos": [{"repo": "local", "hooks": local}]})
        (self.folder / ".pre-commit-config.yaml").write_text(text)
        self.run(str(GIT), "add", "--all")

    def hook(self, name: str, *files: str) -> tuple[bool, str]:
        """Whether a hook passed, and what it said, on files or on all of them."""
        chosen = ["--files", *files] if files else ["--all-files"]
        done = self.run(str(PRE_COMMIT), "run", name, *chosen, "--color=never", check=False)
        return done.returncode == 0, done.stdout + done.stderr

    def put(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text)
        self.run(str(GIT), "add", "--all")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_the_hooks_of_init_pass_on_what_init_makes(repository: Repository) -> None:
    for name in ("gateways-validate", "gateways-secrets-encrypted"):
        passed, said = repository.hook(name)
        assert passed, said
        assert "Passed" in said


def test_the_hooks_for_others(repository: Repository) -> None:
    repository.offer_hooks_for_others()
    names = ("gateways-validate", "gateways-validate-files", "gateways-secrets-encrypted")
    for name in names:
        passed, said = repository.hook(name)
        assert passed, said
        assert "Passed" in said
        assert "no files to check" in repository.hook(name, ".gitignore")[1]

    repository.put("gateways.d/broken.yaml", "gateways: {a: {protocol_type: SMPT}}\n")
    assert not repository.hook("gateways-validate")[0]
    passed, said = repository.hook("gateways-validate-files", "gateways.d/broken.yaml")
    assert not passed
    assert "gateways.d/broken.yaml:1:" in said
    assert repository.hook("gateways-validate-files", "gateways.d/support.yaml")[0]

    repository.put("gateways.d/secrets/plain.yaml", "sales_mailbox: hunter2-canary\n")
    passed, said = repository.hook("gateways-secrets-encrypted")
    assert not passed
    assert "gateways.d/secrets/plain.yaml:1:1" in said
    assert "hunter2-canary" not in said


def test_our_own_hooks_are_well_formed() -> None:
    for file, kind in (
        (".pre-commit-config.yaml", "validate-config"),
        (".pre-commit-hooks.yaml", "validate-manifest"),
    ):
        command = [str(PRE_COMMIT), kind, str(ROOT / file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
