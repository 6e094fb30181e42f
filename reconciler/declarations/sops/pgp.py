"""PGP recipients: gpg unwraps the data key, and nothing else leaves this process."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from reconciler.declarations.sops.cipher import KEY_BYTES
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.process import ProcessFailed, run

_PROGRAM: Final = "SOPS_GPG_EXEC"
_KEPT: Final = frozenset(
    (
        *("HOME", "PATH", "USER", "LOGNAME", "LANG", "LC_ALL"),
        *("GNUPGHOME", "GPG_AGENT_INFO", "GPG_TTY", "TERM", "XDG_RUNTIME_DIR"),
        *("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"),  # for the agent's own prompt
    )
)
# no network: a signature inside the message could otherwise have gpg ask a key server
_OPTIONS: Final = ("--batch", "--no-tty", "--quiet", "--disable-dirmngr")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{8,64}", re.ASCII)


def unwrap(sealed: str, environ: Mapping[str, str]) -> bytes | None:
    """The data key, or None where gpg has no secret key that fits, or is not installed.

    Raises:
        SopsError: TOOL where gpg did not end in time.

    """
    program = _program(environ)
    if program is None:
        return None
    argv = (program, *_OPTIONS, "--max-output", "4096", "--decrypt")
    try:
        code, output = run(argv, sealed.encode(), _environ(environ), max_output=4096)
    except ProcessFailed as error:
        raise SopsError(Reason.TOOL, f"gpg could not unwrap the data key: {error}") from None
    return output if code == 0 and len(output) == KEY_BYTES else None


def at_hand(fingerprints: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether gpg has the secret key of one of these recipients."""
    program = _program(environ)
    wanted = [text for text in fingerprints if _FINGERPRINT.fullmatch(text)]
    return program is not None and any(_has(program, text, environ) for text in wanted)


def _has(program: str, fingerprint: str, environ: Mapping[str, str]) -> bool:
    argv = (program, *_OPTIONS, "--with-colons", "--list-secret-keys", fingerprint)
    try:
        return run(argv, b"", _environ(environ))[0] == 0
    except ProcessFailed:
        return False


def _program(environ: Mapping[str, str]) -> str | None:
    found = shutil.which(environ.get(_PROGRAM) or "gpg", path=environ.get("PATH"))
    return found if found and Path(found).is_absolute() else None  # never one of the project


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name in _KEPT}
