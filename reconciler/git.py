"""What git says of the declarations: the commit, and whether the files differ from it.

A pull request decides what lies in the folder, and git runs what a repository's settings name. So
nothing of the folder may pass for a repository, and git gets none of our secrets.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from reconciler.model import Commit

_COMMAND: Final = (
    "git",
    "--no-optional-locks",
    *("-c", "safe.bareRepository=explicit"),
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("status", "--porcelain=v2", "--branch", "--ignore-submodules=all", "--"),
)
_KEPT: Final = frozenset({"PATH", "HOME", "XDG_CONFIG_HOME", "LANG", "USER", "TMPDIR"})
_KEPT_PREFIXES: Final = ("LC_", "GIT_CONFIG", "GIT_CEILING")
_SECONDS: Final = 20


def commit_of(
    root: Path, paths: Sequence[str], *, environ: Mapping[str, str] = os.environ
) -> Commit | None:
    """The commit that `root` is at; None outside a repository, or where git does not answer."""
    if _poses_as_repository(root.resolve()):
        return None
    try:
        answer = subprocess.run(
            [*_COMMAND, *paths],
            cwd=root,
            env=_environ(environ),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode:
        return None
    lines = answer.stdout.splitlines()
    head = next((line.split()[2] for line in lines if line.startswith("# branch.oid")), None)
    commit = None if head in (None, "(initial)") else head
    return Commit(commit, any(not line.startswith("#") for line in lines))


def _poses_as_repository(root: Path) -> bool:
    """Whether git could take a committed folder for a bare repository, with settings of its own.

    Git 2.38 and later is told not to; before that it would run what those settings name.
    """
    for folder in (root, *root.parents):
        if os.path.lexists(folder / ".git"):  # which git itself never takes from a commit
            return False
        if (folder / "HEAD").exists() and (folder / "objects").exists():
            return True
    return False


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
