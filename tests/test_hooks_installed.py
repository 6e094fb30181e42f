"""Our hooks as other repositories get them: from a git URL, installed by the real pre-commit.

The URL is a bare clone of this checkout as it lies here. pre-commit makes an environment of its own
and has pip install the clone into it; what gateways requires is found beside it, so that no network
is needed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.examples.machine import GIT as GIT_SETTINGS
from tests.examples.machine import SYSTEM_PATH, git, link_requirements
from tests.test_repository import ROOT, tracked

PROGRAMS: Final = Path(sys.executable).parent
PRE_COMMIT: Final = shutil.which("pre-commit", path=str(PROGRAMS))
REVISION: Final = "v0-as-it-lies-here"
CHANGED: Final = 10

pytestmark = pytest.mark.skipif(
    not (PRE_COMMIT and shutil.which("git")) and not os.environ.get("CI"),
    reason="needs git, and pre-commit of the locked requirements",
)


class Published:
    """A git URL with this checkout, and pre-commit with what it has installed."""

    def __init__(self, home: Path) -> None:
        tree, bare = home / "tree", home / "gateways.git"
        for path in tracked():
            copy = tree / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy, follow_symlinks=False)
        git(tree, "init", "--quiet", ".")
        git(tree, "add", "--all")
        git(tree, "commit", "--quiet", "--message", "as it lies here")
        git(tree, "tag", REVISION)
        git(home, "clone", "--quiet", "--bare", str(tree), str(bare))
        self.url = bare.as_uri()
        self.environ = {
            "HOME": str(home),
            "PATH": SYSTEM_PATH,
            "PRE_COMMIT_HOME": str(home / "pre-commit"),
            "PYTHONPATH": str(link_requirements(home)),
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one as "none"
            "GIT_ALLOW_PROTOCOL": "file",
            **GIT_SETTINGS,
        }


class Repository:
    """Another's repository, of which all is committed; `count` gateways in as many files."""

    def __init__(self, folder: Path, published: Published, count: int) -> None:
        self.folder, self._published = folder, published
        (folder / "gateways.d").mkdir(parents=True)
        settings = {"owner": "acme", "targets": {"local": {"platform": "embedded"}}}
        self.write("gateways.yaml", settings)
        for number in range(count):
            self.declare(number, number)
        hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
        wanted = {
            "repo": published.url,
            "rev": REVISION,
            "hooks": [{"id": hook["id"]} for hook in hooks],
        }
        self.write(".pre-commit-config.yaml", {"repos": [wanted]})
        git(folder, "init", "--quiet", ".")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "a project")

    def write(self, name: str, data: dict[str, Any]) -> None:
        (self.folder / name).write_text(yaml.safe_dump(data))

    def declare(self, file: int, number: int, **fields: Any) -> None:
        gateway = {
            "protocol_type": "SMTP",
            "host": "mail.example.com",
            "default_email_address": "a@example.com",
            "authentication_flag": False,
            "encryption_mode": "NONE",
            **fields,
        }
        self.write(f"gateways.d/f{file}.yaml", {"gateways": {f"g{number}": gateway}})

    def commit(self, *, install: bool = False) -> tuple[int, str]:
        """Try to commit all that has changed, through the hook that pre-commit put into git."""
        git(self.folder, "add", "--all")
        if install:
            self._run(str(PRE_COMMIT), "install", check=True)
        done = self._run("git", "commit", "--message", "a change", check=False)
        return done.returncode, done.stdout + done.stderr

    def _run(self, *command: str, check: bool) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._published.environ,
            check=check,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("published"))


@pytest.mark.parametrize("count", [10, 1_000])
def test_ten_changed_files_are_judged_with_all_the_others(
    published: Published, tmp_path: Path, count: int
) -> None:
    """What the hooks find in a commit, and what they find between it and a file outside of it."""
    repository = Repository(tmp_path / "mail", published, count)
    for number in range(CHANGED):
        repository.declare(number, number, default_user_name="Changed")
    code, said = repository.commit(install=True)
    assert code == 0, said
    assert said.count("Passed") == 3
    installed = Path(published.environ["PRE_COMMIT_HOME"]).glob("repo*/py_env-*/bin/gateways")
    assert len(list(installed)) == 1

    repository.declare(0, count - 1)  # a name that an unchanged file has
    for number in range(1, CHANGED):
        repository.declare(number, number)
    code, said = repository.commit()
    assert code == 1
    assert f"gateways.d/f{count - 1}.yaml" in said
    assert "gateways.d/f0.yaml:2:3: error[duplicate-gateway]" in said
    assert said.count("Failed") == 2

    (repository.folder / "gateways.d/secrets").mkdir()
    (repository.folder / "gateways.d/secrets/one.sops.yaml").write_text("one: Canary-hunter2\n")
    repository.declare(0, 0)
    code, said = repository.commit()
    assert code == 1
    assert "gateways.d/secrets/one.sops.yaml:1:1" in said
    assert "hunter2" not in said
