"""The age key that can read a project's secrets. It never lives in the repository.

The file is the one that sops itself looks in, so that no command needs to be told of it.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.errors import SecretsUnavailable, WrongUsage

_PREFIX: Final = "AGE-SECRET-KEY-1"


@dataclass(frozen=True, slots=True)
class AgeKey:
    """A public key, and the file with its private half (None: the environment has it)."""

    recipient: str
    file: Path | None
    made: bool


def default_file(environ: Mapping[str, str]) -> Path:
    """Where sops looks for age keys: $SOPS_AGE_KEY_FILE, or its folder of the user's settings."""
    if named := environ.get("SOPS_AGE_KEY_FILE"):
        return Path(named).expanduser()
    home = Path(environ.get("HOME") or Path.home())
    usual = home / ("Library/Application Support" if sys.platform == "darwin" else ".config")
    return Path(environ.get("XDG_CONFIG_HOME") or usual) / "sops" / "age" / "keys.txt"


def find_or_make(file: Path | None, environ: Mapping[str, str], project: Path) -> AgeKey:
    """The first age key of the file, or of $SOPS_AGE_KEY, or else a new one, added to the file.

    Raises:
        WrongUsage: the file would be inside the repository.
        SecretsUnavailable: the file cannot be read or written, or its first key is damaged.

    """
    if file is None and (recipient := _first(environ.get("SOPS_AGE_KEY", ""), "$SOPS_AGE_KEY")):
        return AgeKey(recipient, None, made=False)
    place = file or default_file(environ)
    _refuse_inside(place, repository(project))
    try:
        known = place.read_text(encoding="utf-8") if place.exists() else ""
        if recipient := _first(known, str(place)):
            return AgeKey(recipient, place, made=False)
        return AgeKey(_add_new(place, known), place, made=True)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SecretsUnavailable(
            f"the age key file {place} cannot be used: {reason}",
            "name another one with --age-key",
        ) from None


def repository(project: Path) -> Path:
    """The git repository that the project is in, or the project itself."""
    folder = project.resolve()
    return next((up for up in (folder, *folder.parents) if (up / ".git").exists()), folder)


def _refuse_inside(file: Path, folder: Path) -> None:
    if file.resolve().is_relative_to(folder):
        raise WrongUsage(
            f"the age key file {file} would be inside the repository {folder}",
            "whoever can read the repository could then read every password: put it elsewhere",
        )


def _first(text: str, where: str) -> str | None:
    from pyrage import IdentityError, x25519

    lines = (line.strip() for line in text.splitlines())
    line = next((line for line in lines if line.startswith(_PREFIX)), None)
    if line is None:
        return None
    try:
        return str(x25519.Identity.from_str(line).to_public())
    except (ValueError, IdentityError):
        raise SecretsUnavailable(
            f"the first age key of {where} is damaged", "mend it, or name another --age-key file"
        ) from None


def _add_new(file: Path, known: str) -> str:
    """Append a new key in one write; the file ends up readable by its owner alone."""
    from pyrage import x25519

    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    gap = "\n" if known and not known.endswith("\n") else ""
    lines = f"{gap}# for email gateways; public key: {recipient}\n{identity}\n"
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(handle, 0o600)
        os.write(handle, lines.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    return recipient
