"""Writing files that must not be there yet: all of them, each whole, or none."""

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import WrongUsage
from reconciler.files import unwritable
from reconciler.pem import ders_of, pem_of

if TYPE_CHECKING:
    from reconciler.declarations.writer import Declaration
    from reconciler.model import Certificate

_NOT_IN_NAMES: Final = re.compile("[^a-z0-9.-]")
_LONGEST_STEM: Final = 200


def by_host(declared: Sequence["Declaration"]) -> dict[str, list["Declaration"]]:
    """Declarations by the name of their file, which is that of the mail host."""
    files: dict[str, list[Declaration]] = {}
    for one in declared:
        stem = _NOT_IN_NAMES.sub("-", str(one.fields["host"]).lower()).strip(".-")
        files.setdefault(f"{stem[:_LONGEST_STEM] or 'host'}.yaml", []).append(one)
    return dict(sorted(files.items()))


def is_there(path: Path, certificate: "Certificate") -> bool:
    """Whether a file has just this certificate already, however it is written down."""
    try:
        return path.is_file() and pem_of(ders_of(path.read_bytes())) == certificate.pem
    except (OSError, ValueError):
        return False


def write_all_new(folder: Path, files: Mapping[str, str]) -> None:
    """Write `files`, in this order, by their paths below `folder`.

    Raises:
        WrongUsage: one of them is there already, or the folder cannot be written to.
        GatewaysError: the disk is full or fails. No file stays in any of these cases.

    """
    for name in files:
        if os.path.lexists(folder / name):
            raise WrongUsage(
                f"{folder / name} is there already, and dump overwrites nothing",
                "give --out another folder, or name the gateways that are missing",
            )
    made: list[Path] = []
    try:
        for name, text in files.items():
            _write_new(folder / name, text)
            made.append(folder / name)
    except BaseException as error:
        for path in made:
            with contextlib.suppress(OSError):
                path.unlink()
        if isinstance(error, OSError):
            raise unwritable(folder, error) from None
        raise


def _write_new(path: Path, text: str) -> None:
    """Under its own name only once it is whole; never in place of another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        path.hardlink_to(temporary)
    finally:
        Path(temporary).unlink()
