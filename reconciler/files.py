"""Writing a file whole or not at all."""

import contextlib
import errno
import os
import tempfile
from glob import escape
from pathlib import Path
from typing import Final

from reconciler.errors import GatewaysError, WrongUsage

UNFINISHED: Final = "unfinished"
"""What the name of a file says that is still being written, in the folder of the one it becomes."""

_DEVICES: Final = Path("/dev")
_WRONG_PLACE: Final = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
    }
)


def unwritable(path: Path, error: OSError) -> GatewaysError:
    """Why `path` cannot be written: it is a wrong place, or the disk is full or fails."""
    kind = WrongUsage if error.errno in _WRONG_PLACE else GatewaysError
    return kind(f"{path} cannot be written: {error.strerror}")


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace `path` in one step: a reader sees the old file or the new one, never a part.

    A link is replaced and not followed. A pipe or a device, such as /dev/stdout, stays: what is
    written goes into it.

    Raises:
        WrongUsage: there is no such folder, or it may not be written to.
        GatewaysError: the disk is full or fails. Nothing is left behind either way.

    """
    temporary = None
    try:
        if _stays(path):
            path.write_text(text, encoding="utf-8")
            return
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.{UNFINISHED}-", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise unwritable(path, error) from None


def clear_unfinished(path: Path) -> None:
    """Take away what writers of `path` left that were killed; call it where no other can write."""
    for left in path.parent.glob(f".{escape(path.name)}.{UNFINISHED}-*"):
        with contextlib.suppress(OSError):  # it harms nobody
            left.unlink()


def _stays(path: Path) -> bool:
    """Whether it is no file: replacing it would take it away from every other program."""
    return path.exists() and (not path.is_file() or _DEVICES in path.absolute().parents)
