"""What git says of the declarations: the commit, and whether the files differ from it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from reconciler.model import Commit


def commit_of(root: Path, paths: Sequence[str]) -> Commit | None:
    """The commit that `root` is at; None outside a repository, or where git does not answer."""
    command = ["git", "status", "--porcelain=v2", "--branch", "--", *paths]
    try:
        answer = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode:
        return None
    lines = answer.stdout.splitlines()
    head = next((line.split()[2] for line in lines if line.startswith("# branch.oid")), None)
    commit = None if head in (None, "(initial)") else head
    return Commit(commit, any(not line.startswith("#") for line in lines))
