"""The keys at hand, found where the real sops finds them, and the data key unwrapped with them."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pyrage

from reconciler.declarations.sops import pgp
from reconciler.declarations.sops.document import SopsDocument
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.process import ProcessFailed, run

Identity = Any  # of pyrage, which has no types

_KEY: Final = "SOPS_AGE_KEY"
_KEY_FILE: Final = "SOPS_AGE_KEY_FILE"
_KEY_COMMAND: Final = "SOPS_AGE_KEY_CMD"
_SSH_FILE: Final = "SOPS_AGE_SSH_PRIVATE_KEY_FILE"
_MAX_KEY_FILE: Final = 1 << 20
NO_KEY_HINT: Final = (
    f"point {_KEY_FILE} at the age key file, or set {_KEY}; without a key, plan says not compared"
)


class Keyring:
    """The keys of one run; each source is read once, and only when it is needed."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.notes: list[str] = []
        self.plugins = False

    def at_hand(self, documents: Sequence[SopsDocument]) -> bool:
        """Whether there is any key for the kinds of recipients that these files have.

        An empty variable is no key: that is what a CI job of a fork is given. Says nothing on
        whether a key fits.
        """
        recipients = {text for document in documents for text in _fields(document, "recipient")}
        if any(not text.startswith("ssh-") for text in recipients) and self._age_at_hand():
            return True
        if any(text.startswith("ssh-") for text in recipients) and any(self._ssh_files()):
            return True
        fingerprints = {text for document in documents for text in _fields(document, "fp")}
        return bool(fingerprints) and pgp.at_hand(sorted(fingerprints), self.environ)

    def unwrap(self, document: SopsDocument) -> bytes | None:
        """The data key of a file, or None where no age or PGP key at hand fits."""
        for recipient, sealed in _pairs(document, "age", "recipient"):
            identities = self._ssh if recipient.startswith("ssh-") else self._age
            if identities and (data_key := _unwrap(sealed, identities)):
                return data_key
        for _fingerprint, sealed in _pairs(document, "pgp", "fp"):
            if data_key := pgp.unwrap(sealed, self.environ):
                return data_key
        return None

    def explain(self, document: SopsDocument) -> SopsError:
        """Why `unwrap` found nothing: no key at all, or none that fits."""
        if not self.at_hand([document]):
            message = "no key is at hand for the file"
            return SopsError(Reason.NO_KEY, message, "; ".join([NO_KEY_HINT, *self.notes]))
        recipients = [*_fields(document, "recipient"), *_fields(document, "fp")]
        shown = ", ".join(text for text in recipients if text.isascii() and text.isalnum())
        hint = "the file is encrypted for " + (shown or "other kinds of keys")
        message = "no key at hand fits the file"
        hints = [hint, *self.notes, *self._how_without()]
        return SopsError(Reason.WRONG_KEY, message, "; ".join(hints))

    def _how_without(self) -> Iterator[str]:
        """Some other project's key stands in the way of a plan, which needs none."""
        names = [one for one in (_KEY, _KEY_FILE, _KEY_COMMAND, _SSH_FILE) if self.environ.get(one)]
        if self._default_file().is_file():
            names.append(str(self._default_file()))
        if names:
            yield f"plan needs no key: without {' and '.join(names)} it says not compared"

    @cached_property
    def _age(self) -> list[Identity]:
        found: list[Identity] = []
        for source, text in self._age_texts():
            lines = [line.strip() for line in text.splitlines()]
            if all(not line or line.startswith("#") for line in lines):
                self.notes.append(f"{source} holds no key")
            for number, line in enumerate(lines, start=1):
                found += self._identity(line, f"line {number} of {source}")
        return found

    @cached_property
    def _ssh(self) -> list[Identity]:
        found: list[Identity] = []
        for path in self._ssh_files():
            try:
                found.append(pyrage.ssh.Identity.from_buffer(_read(path).encode()))
            except (OSError, ValueError, pyrage.IdentityError):
                self.notes.append(f"{path} is not an SSH key that can be used without a passphrase")
        return found

    def _identity(self, line: str, place: str) -> Iterator[Identity]:
        if not line or line.startswith("#"):
            return
        if line.startswith("AGE-PLUGIN-"):
            self.plugins = True
            return
        try:
            yield pyrage.x25519.Identity.from_str(line)
        except (ValueError, pyrage.IdentityError):
            self.notes.append(f"{place} is not an age key")

    def _age_at_hand(self) -> bool:
        names = (_KEY, _KEY_FILE, _KEY_COMMAND)
        return any(self.environ.get(name) for name in names) or self._default_file().is_file()

    def _age_texts(self) -> Iterator[tuple[str, str]]:
        if text := self.environ.get(_KEY):
            yield _KEY, text
        if name := self.environ.get(_KEY_FILE):
            yield from self._file_text(Path(name), _KEY_FILE)
        if command := self.environ.get(_KEY_COMMAND):
            yield from self._command_text(command)
        if self._default_file().is_file():
            yield from self._file_text(self._default_file(), "the default key file")

    def _file_text(self, path: Path, source: str) -> Iterator[tuple[str, str]]:
        try:
            yield source, _read(path)
        except (OSError, ValueError):
            self.notes.append(f"the file that {source} names cannot be read")

    def _command_text(self, command: str) -> Iterator[tuple[str, str]]:
        try:
            code, output = run(shlex.split(command), b"", self.environ, max_output=_MAX_KEY_FILE)
            text = output.decode()
        except (ValueError, IndexError, ProcessFailed):
            code, text = 1, ""
        if code:
            self.notes.append(f"the command of {_KEY_COMMAND} failed")
        else:
            yield f"the output of {_KEY_COMMAND}", text

    def _home(self) -> Path:
        return Path(self.environ.get("HOME") or Path.home())

    def _default_file(self) -> Path:
        configured = self.environ.get("XDG_CONFIG_HOME")
        mac = self._home() / "Library" / "Application Support"
        fallback = mac if sys.platform == "darwin" else self._home() / ".config"
        return (Path(configured) if configured else fallback) / "sops" / "age" / "keys.txt"

    def _ssh_files(self) -> list[Path]:
        usual = [self._home() / ".ssh" / name for name in ("id_ed25519", "id_rsa")]
        named = self.environ.get(_SSH_FILE)
        return [*([Path(named)] if named else []), *(path for path in usual if path.is_file())]


def _unwrap(sealed: str, identities: Sequence[Identity]) -> bytes | None:
    try:
        data_key: bytes = pyrage.decrypt(sealed.encode(), identities)
    except (ValueError, pyrage.DecryptError):
        return None
    return data_key


def _read(path: Path) -> str:
    with path.expanduser().open("rb") as file:
        return file.read(_MAX_KEY_FILE).decode()


def _fields(document: SopsDocument, name: str) -> list[str]:
    return [leaf.text for leaf in document.block if leaf.path[-1] == name and len(leaf.path) > 2]  # noqa: PLR2004


def _pairs(document: SopsDocument, kind: str, name: str) -> Iterator[tuple[str, str]]:
    """Recipient and wrapped data key of every entry of a list of the block."""
    for leaf in document.block:
        if (
            leaf.path[1:2] == (kind,)
            and leaf.path[3:] == ("enc",)
            and isinstance(leaf.path[2], int)
        ):
            yield document.block_text(*leaf.path[1:-1], name), leaf.text
