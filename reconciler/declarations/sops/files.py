"""Finds and reads the secrets files of a project, and nothing outside of it.

The patterns stand in the tree that a pull request changes, and so do links: neither may have a file
read from elsewhere, and no link may send the search astray.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from reconciler.declarations.sops.document import MAX_BYTES
from reconciler.declarations.sops.errors import Reason, SopsError

_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would hold up the opener


def find(root: Path, patterns: Sequence[str]) -> list[str]:
    """The files that fit the patterns, sorted, as paths relative to `root`.

    Folders that are links are not searched by a wildcard. A pattern that is absolute or goes up
    finds nothing.
    """
    found: set[str] = set()
    for pattern in patterns:
        parts = PurePosixPath(pattern).parts
        if parts and ".." not in parts and parts[0] != "/":
            found.update(_matches(root, "", parts))
    return sorted(found)


def _matches(root: Path, folder: str, parts: Sequence[str]) -> Iterator[str]:
    head, rest = parts[0], parts[1:]
    if head == "**":
        yield from _matches(root, folder, rest or ("*",))
        for name in _names(root, folder, folders=True):
            yield from _matches(root, f"{folder}{name}/", parts)
    elif not any(letter in head for letter in "*?["):
        if rest:
            yield from _matches(root, f"{folder}{head}/", rest)
        elif os.path.lexists(root / folder / head):
            yield folder + head
    else:
        for name in _names(root, folder, folders=bool(rest)):
            if fnmatchcase(name, head):
                yield from _matches(root, f"{folder}{name}/", rest) if rest else (folder + name,)


def _names(root: Path, folder: str, *, folders: bool) -> list[str]:
    """The folders that are no links, or everything else; nothing that is hidden."""
    try:
        with os.scandir(root / folder) as entries:
            return [
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) is folders and not entry.name.startswith(".")
            ]
    except OSError:
        return []


class Reader:
    """Reads files below one root; remembers which folders really lie in it."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._folders: dict[str, bool] = {}

    def read(self, file: str) -> bytes:
        """The file's bytes, at most one more than may be parsed.

        Raises:
            SopsError: NOT_READABLE, with the reason in our words.

        """
        path = os.path.join(self._root, file)  # noqa: PTH118  # Path costs more than the read
        try:
            if os.path.islink(path):  # noqa: PTH114
                path = os.path.realpath(path)
            if not self._inside(os.path.dirname(path)):  # noqa: PTH120
                raise SopsError(Reason.NOT_READABLE, "the link leads out of the project")
            return _content(path)
        except FileNotFoundError:
            raise SopsError(Reason.NOT_READABLE, "the link leads nowhere") from None
        except OSError as error:
            reason = error.strerror or "it cannot be opened"
            raise SopsError(Reason.NOT_READABLE, f"the file cannot be read: {reason}") from None

    def _inside(self, folder: str) -> bool:
        known = self._folders.get(folder)
        if known is None:
            real = os.path.realpath(folder)
            known = real == self._root or real.startswith(self._root + os.sep)
            self._folders[folder] = known
        return known


def _content(path: str) -> bytes:
    handle = os.open(path, _FILE)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise SopsError(Reason.NOT_READABLE, "it is not a regular file")
        parts = []
        left = MAX_BYTES + 1
        while left and (part := os.read(handle, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(handle)
