"""The edge of loading: which files of a folder are declarations, and their bytes.

A pull request decides what lies in the folder, so nothing in it is trusted: pipes and devices are
never opened, and links may not leave the project.
"""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.declarations.yaml_text import MAX_BYTES

_ENDINGS: Final = (".yaml", ".yml")
_SECRETS: Final = (".sops.yaml", ".sops.yml")
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(eq=False)
class Unread(Exception):
    """Why a file or folder could not be read, for a problem."""

    rule: str
    message: str
    hint: str


def find_folder(root: str, folder: str) -> str:
    """The real path of the folder of declarations. Raises Unread."""
    path = os.path.realpath(Path(root, folder))
    if not _inside(path, root):
        raise Unread(
            "outside-project",
            "the folder of declarations is outside the project",
            "name a folder of the project in gateways.yaml",
        )
    if not Path(path).is_dir():
        what = "is not a folder" if os.path.lexists(path) else "does not exist"
        hint = "check 'declarations' in gateways.yaml, and that the checkout is complete"
        raise Unread("missing-declarations", f"the folder of declarations {what}", hint)
    return path


def list_files(path: str) -> list["os.DirEntry[str]"]:
    """The folder's declaration files, and what looks like one, by name. Raises Unread."""
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if _is_declaration(entry.name)]
    except OSError as error:
        raise _unreadable(error) from None
    return sorted(found, key=lambda entry: entry.name)


def _is_declaration(name: str) -> bool:
    """Hidden files are none: editors keep locks and copies under such names."""
    if name.endswith(_ENDINGS):
        return not name.startswith(".") and not name.endswith(_SECRETS)
    lowered = name.lower()
    return lowered.endswith(_ENDINGS) and not lowered.startswith(".")


def read_file(entry: "os.DirEntry[str]", root: str) -> bytes:
    """At most one byte more than a file may have. Never waits. Raises Unread."""
    if not entry.name.isprintable():
        message = "this file's name has characters that cannot be printed"
        raise Unread("file-name", message, "rename it")
    if not entry.name.endswith(_ENDINGS):
        hint = "rename it: only names that end in .yaml or .yml, in lower case, are read"
        raise Unread("unread-file", "this file is not read", hint)
    try:
        if entry.is_file(follow_symlinks=False):
            return _content(entry.path)
        if not entry.is_symlink():
            raise _not_a_file()
        target = _target(entry.path, root)
        if not stat.S_ISREG(os.lstat(target).st_mode):
            raise _not_a_file()
        return _content(target)
    except OSError as error:
        raise _unreadable(error) from None


def _content(path: str) -> bytes:
    descriptor = os.open(path, _FLAGS)
    try:
        # Looked at again: between listing and opening it may have become a pipe.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_a_file()
        parts = [os.read(descriptor, MAX_BYTES + 1)]
        while parts[-1] and sum(map(len, parts)) <= MAX_BYTES:
            parts.append(os.read(descriptor, MAX_BYTES + 1))
    finally:
        os.close(descriptor)
    return b"".join(parts)


def _not_a_file() -> Unread:
    hint = "delete or rename it: only regular files are read"
    return Unread("not-a-file", "this is not a regular file", hint)


def _unreadable(error: OSError) -> Unread:
    if error.errno in {errno.ENOENT, errno.ELOOP}:
        message = "this vanished or changed while the folder was read"
        return Unread("file-vanished", message, "run again when nothing else writes to the folder")
    if error.errno == errno.ENXIO:  # a socket, since the listing
        return _not_a_file()
    reason = os.strerror(error.errno or errno.EIO).lower()
    return Unread("unreadable-file", f"this cannot be read: {reason}", "check permissions and disk")


def _target(path: str, root: str) -> str:
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            raise
        hint = "mend or delete the link"
        raise Unread("dangling-link", "this link leads nowhere", hint) from None
    if not _inside(target, root):
        hint = "move the file into the project, or delete the link"
        raise Unread("outside-project", "this link leads out of the project", hint)
    return target


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
