"""The hooks as a commit waits for them: installed from a git URL, and run by pre-commit."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.measure import Side, compare
from bench.peers import CHECKOUT, ours
from bench.projects import Project
from bench.table import Row

if TYPE_CHECKING:
    from bench.rows import Setup

CHANGED: Final = 10
REVISION: Final = "measured"
HOOKS: Final = ("gateways-validate", "gateways-secrets-encrypted")
CONFIG: Final = ".pre-commit-config.yaml"
TRIVIAL: Final = "trivial.yaml"
LIMIT_SECONDS: Final = 1.0


def run_hooks(setup: "Setup") -> Iterator[Row]:
    """C1: ten changed files in a small repository, and in a large one."""
    published = _Published(setup.projects.folder)
    few, many = (setup.projects.hooked(count) for count in (CHANGED, 1_000))
    small, large, theirs = compare(
        [published.side(few, CONFIG), published.side(many, CONFIG), published.side(many, TRIVIAL)],
        setup.runs * 3,
    )
    peer = "pre-commit with a hook that is `true`"
    for count, mine in ((len(few.files), small), (len(many.files), large)):
        what = f"pre-commit, {CHANGED} changed of {count:,}"
        yield Row("C1", what, mine.seconds, "s", "a limit", None, LIMIT_SECONDS)
        yield Row("C1", what, mine.seconds, "s", peer, theirs.seconds, None)


class _Published:
    """A git URL with this checkout, and pre-commit with the hooks that it installs from there."""

    def __init__(self, folder: Path) -> None:
        self._home = folder / "hooks"
        self._url = self._home / "gateways.git"
        if not self._url.exists():
            self._publish()

    def side(self, project: Project, config: str) -> Side:
        """`pre-commit run` on what is staged: other changes in the same files each time."""
        environ = {
            **project.environ,
            "PRE_COMMIT_HOME": str(self._home / "pre-commit"),
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        if not (project.folder / ".git").exists():
            self._set_up(project, environ)
        chosen = project.files[:: len(project.files) // CHANGED]
        runs = 0

        def change() -> None:
            nonlocal runs
            runs += 1
            for file in chosen:
                path = project.folder / file
                path.write_text(f"{path.read_text().partition('# ')[0]}# {config} {runs}\n")
            _git(project.folder, "add", "--all")

        command = (ours("pre-commit"), "run", "--config", config)
        return Side(command, project.folder, environ, change)

    def _set_up(self, project: Project, environ: Mapping[str, str]) -> None:
        wanted = [{"id": hook} for hook in HOOKS]
        repo = {"repo": self._url.as_uri(), "rev": REVISION, "hooks": wanted}
        nothing = {
            "id": "nothing",
            "name": "nothing",
            "language": "system",
            "entry": "true",
            "pass_filenames": False,
        }
        _write(project.folder / CONFIG, {"repos": [repo]})
        _write(project.folder / TRIVIAL, {"repos": [{"repo": "local", "hooks": [nothing]}]})
        _git(project.folder, "init", "--quiet", ".")
        _git(project.folder, "add", "--all")
        _git(project.folder, "commit", "--quiet", "--message", "a project")
        install = (ours("pre-commit"), "install-hooks")
        everything = {**os.environ, **environ}
        subprocess.run(install, cwd=project.folder, env=everything, check=True, capture_output=True)

    def _publish(self) -> None:
        """What git has or would take of this checkout, as it lies here."""
        tree = self._home / "tree"
        listed = _git(CHECKOUT, "ls-files", "-z", "-co", "--exclude-standard")
        for name in filter(None, listed.split("\0")):
            if (CHECKOUT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(CHECKOUT / name, tree / name, follow_symlinks=False)
        _git(tree, "init", "--quiet", ".")
        _git(tree, "add", "--all")
        _git(tree, "commit", "--quiet", "--message", "as it lies here")
        _git(tree, "tag", REVISION)
        _git(self._home, "clone", "--quiet", "--bare", str(tree), str(self._url))


def _write(path: Path, data: Mapping[str, Any]) -> None:
    """JSON is YAML."""
    path.write_text(json.dumps(data))


def _git(folder: Path, *words: str) -> str:
    settings = ("-c", "user.name=bench", "-c", "user.email=bench@example.test")
    command = ("git", *settings, "-c", f"core.hooksPath={os.devnull}", *words)
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
