"""Writing a file whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from reconciler.errors import WrongUsage


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace `path` in one step: a reader sees the old file or the new one, never a part.

    Raises:
        WrongUsage: the folder is missing, not writable or full; nothing is left behind.

    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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
        raise WrongUsage(f"{path} cannot be written: {error.strerror}") from None
