"""What git says of the declarations: the commit, and whether the files differ from it.

A pull request decides what lies in the folder, and git runs what a repository's settings name. So
nothing of the folder may pass for a repository, and git gets none of our secrets.
"""

import os
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from reconciler.model import Commit

_GIT: Final = (
    "git",
    "--no-optional-locks",
    *("-c", "safe.bareRepository=explicit"),
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
)
_STATUS: Final = ("status", "--porcelain=v2", "--branch", "--ignore-submodules=all", "--")
_KEPT: Final = frozenset({"PATH", "HOME", "XDG_CONFIG_HOME", "LANG", "USER", "TMPDIR"})
_KEPT_PREFIXES: Final = ("LC_", "GIT_CONFIG", "GIT_CEILING")
_SECONDS: Final = 20
_FULL: Final = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_REGULAR: Final = frozenset({b"100644", b"100755"})


def commit_of(
    root: Path, paths: Sequence[str], *, environ: Mapping[str, str] = os.environ
) -> Commit | None:
    """The commit that `root` is at; None outside a repository, or where git does not answer."""
    answer = _answer(root, (*_STATUS, *paths), environ)
    if answer is None:
        return None
    lines = answer.decode("utf-8", "replace").splitlines()
    head = next((line.split()[2] for line in lines if line.startswith("# branch.oid")), None)
    commit = None if head in (None, "(initial)") else head
    return Commit(commit, any(not line.startswith("#") for line in lines))


def is_commit(root: Path, ref: str, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether git knows, in `root`, a commit of that name."""
    return _commit(root, ref, environ) is not None


def file_at(
    root: Path, ref: str, name: str, *, environ: Mapping[str, str] = os.environ
) -> bytes | None:
    """A file of `root` as another commit has it; None if git cannot tell."""
    commit = _commit(root, ref, environ)
    if commit is None:
        return None
    return _answer(root, ("cat-file", "blob", f"{commit}:./{name}"), environ)


def files_at(
    root: Path, ref: str, paths: Sequence[str], *, environ: Mapping[str, str] = os.environ
) -> dict[str, bytes] | None:
    """The regular files below `paths` as another commit has them, by their path from `root`.

    They are as the commit has them: no filter that the repository's settings name sees them. None
    if git cannot tell.
    """
    commit = _commit(root, ref, environ)
    if commit is None:
        return None
    listed = _answer(root, ("ls-tree", "-r", "-z", commit, "--", *paths), environ)
    if listed is None:
        return None
    entries = [entry.partition(b"\t") for entry in listed.split(b"\0") if entry]
    files = {
        os.fsdecode(name): about.split()[2]
        for about, _, name in entries
        if about.split()[0] in _REGULAR
    }
    wanted = b"".join(blob + b"\n" for blob in files.values())
    contents = _answer(root, ("cat-file", "--batch"), environ, given=wanted)
    try:
        return None if contents is None else dict(zip(files, _blobs(contents), strict=True))
    except (ValueError, IndexError):  # one is missing, as in a clone of a part
        return None


def in_history(
    root: Path, commits: Collection[str], *, environ: Mapping[str, str] = os.environ
) -> frozenset[str]:
    """Those of `commits`, given in full, that `root` is at or that led to it.

    In a clone of few commits an earlier one is not found, and so is not among them.
    """
    return frozenset(
        commit
        for commit in commits
        if _FULL.fullmatch(commit)
        and _answer(root, ("merge-base", "--is-ancestor", commit, "HEAD"), environ) is not None
    )


def _blobs(batch: bytes) -> Iterator[bytes]:
    """The contents that `git cat-file --batch` printed, each after a line that ends in its size.

    Raises ValueError or IndexError where git has not got one of them.
    """
    start = 0
    while start < len(batch):
        end = batch.index(b"\n", start)
        size = int(batch[start:end].split()[2])
        yield batch[end + 1 : end + 1 + size]
        start = end + size + 2


def _commit(root: Path, ref: str, environ: Mapping[str, str]) -> str | None:
    if ref.startswith("-") or ":" in ref:  # an option, or a path of the commit's own
        return None
    found = _answer(root, ("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"), environ)
    return None if found is None else found.decode().strip()


def _answer(
    root: Path, arguments: Sequence[str], environ: Mapping[str, str], given: bytes = b""
) -> bytes | None:
    if _poses_as_repository(root.resolve()):
        return None
    try:
        answer = subprocess.run(
            [*_GIT, *arguments],
            cwd=root,
            env=_environ(environ),
            input=given,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if answer.returncode else answer.stdout


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
