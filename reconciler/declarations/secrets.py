"""The secrets files of one target: judged without a key, opened only for the names that are needed.

A file is parsed once; the same parse serves the scan and the decryption. Decrypted values leave
this module as `Secret` only.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from reconciler.declarations.catalogue.secrets import problem
from reconciler.declarations.sops import policy, shape
from reconciler.declarations.sops.document import SopsDocument, parse
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.files import Reader, find
from reconciler.declarations.sops.sealed import Sealed, sealed_values
from reconciler.declarations.sops.shape import SecretEntry
from reconciler.errors import InvalidInput, SecretsUnavailable
from reconciler.model import Place, Problem, Secret

if TYPE_CHECKING:
    from reconciler.declarations.sops.cipher import Opened
    from reconciler.declarations.sops.keys import Keyring

__all__ = ["BoundSecret", "SecretEntry", "SecretFiles", "SecretValues"]

_SLUGS: Final[Mapping[Reason, str]] = {
    Reason.NOT_ENCRYPTED: "not-encrypted",
    Reason.FOREIGN_SERVICE: "foreign-key-service",
    Reason.UNSUPPORTED: "secrets-file-form",
    Reason.NOT_READABLE: "secrets-file-unreadable",
}
_ANCHOR: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9*._:-]{1,253}", re.ASCII)


@dataclass(frozen=True, slots=True)
class BoundSecret:
    """A decrypted secret, and what it may be sent to; None binds it to nothing.

    `hosts` are in lower case and may hold `*`; `anchors` are SHA-256 in 64 hexadecimal digits.
    """

    value: Secret
    hosts: tuple[str, ...] | None = None
    anchors: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SecretValues:
    """The secrets that were asked for, and what is wrong with those that are missing in it."""

    secrets: Mapping[str, BoundSecret]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Opened:
    secrets: Mapping[str, BoundSecret]
    problems: Mapping[str, Sequence[Problem]]


@dataclass(frozen=True, slots=True)
class _File:
    """`document` is None where the file may not be decrypted: `problems` then say why."""

    name: str
    document: SopsDocument | None
    entries: Sequence[SecretEntry]
    problems: tuple[Problem, ...]


class SecretFiles:
    """The secrets of one target. Not safe to share between threads; no file is read twice."""

    def __init__(
        self, files: Sequence[_File], key_services: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        self._files = {file.name: file for file in files}
        self._key_services = tuple(key_services)
        self._environ = environ
        self._opened: dict[str, _Opened] = {}
        names: dict[str, SecretEntry] = {}
        doubles: list[Problem] = []
        for entry in (entry for file in files for entry in file.entries):
            if names.setdefault(entry.name, entry) is not entry:
                doubles += _doubles(names[entry.name], entry)
        self.names: Mapping[str, SecretEntry] = names
        self.problems: tuple[Problem, ...] = tuple(
            sorted({*doubles, *(found for file in files for found in file.problems)})
        )

    @classmethod
    def scan(
        cls,
        root: Path,
        patterns: Sequence[str],
        key_services: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Read the files that fit the patterns, without a key; a bad file is a problem.

        `key_services` are those that the target names. Keys are looked for in `environ`, by
        default the process's own.
        """
        reader = Reader(root)
        files = [_scanned(reader, file, key_services) for file in find(root, patterns)]
        return cls(files, key_services, os.environ if environ is None else environ)

    def has_identity(self) -> bool:
        """Whether any key is at hand for the kinds of recipients of the files; true without files.

        Says nothing on whether it fits. An empty environment variable is no key.
        """
        documents = [file.document for file in self._files.values() if file.document]
        if not documents:
            return True
        if self._keyring.at_hand(documents):
            return True
        from reconciler.declarations.sops import binary  # noqa: PLC0415

        services = [service for document in documents for service in policy.services(document)]
        return binary.credentials_at_hand(services, self._environ)

    @cached_property
    def sealed(self) -> Mapping[str, Sealed]:
        """The encrypted value of each secret; of one that stands twice, which is an error, one."""
        documents = [file.document for file in self._files.values() if file.document]
        return {name: value for one in documents for name, value in sealed_values(one).items()}

    def decrypt(self, names: Collection[str]) -> Mapping[str, BoundSecret]:
        """The secrets of these names; a name that no file holds is left out.

        Raises:
            SecretsUnavailable: as `read`.
            InvalidInput: a secret or its binding is not valid; it has every problem.

        """
        values = self.read(names)
        if values.problems:
            raise InvalidInput("secrets are invalid", problems=values.problems)
        return values.secrets

    def read(self, names: Collection[str]) -> SecretValues:
        """Open the files that hold these names, each at most once a run.

        Raises:
            SecretsUnavailable: files cannot be opened; the message names each and its reason.

        """
        wanted = sorted(self.names.keys() & names)
        failed: dict[str, SopsError] = {}
        for file in sorted({self.names[name].file for name in wanted} - self._opened.keys()):
            try:
                self._opened[file] = self._open(self._files[file])
            except SopsError as error:
                failed[file] = error
        if failed:
            raise _unavailable(failed)
        opened = [(name, self._opened[self.names[name].file]) for name in wanted]
        secrets = {name: file.secrets[name] for name, file in opened if name in file.secrets}
        problems = {found for name, file in opened for found in file.problems.get(name, ())}
        return SecretValues(secrets, tuple(sorted(problems)))

    def _open(self, file: _File) -> _Opened:
        from reconciler.declarations.sops.reader import decrypt  # noqa: PLC0415  # loads crypto

        if file.document is None:
            first = file.problems[0]
            raise SopsError(
                Reason.NOT_READABLE,
                first.message,
                first.hint,
                line=first.place.line,
                column=first.place.column,
            )
        return _values(decrypt(file.document, self._keyring, self._key_services), file.name)

    @cached_property
    def _keyring(self) -> "Keyring":
        from reconciler.declarations.sops.keys import Keyring  # noqa: PLC0415  # loads crypto

        return Keyring(self._environ)


def _scanned(reader: Reader, found: str, key_services: Sequence[str]) -> _File:
    file = found.encode(errors="backslashreplace").decode()  # a name may be no UTF-8
    try:
        document = parse(reader.read(found))
    except SopsError as error:
        return _File(file, None, (), (_as_problem(error, file),))
    entries, problems = shape.entries(document, file)
    if document.block:
        try:
            policy.check(document, key_services)
        except SopsError as error:
            problems.append(_as_problem(error, file))
    return _File(file, None if problems else document, entries, tuple(sorted(problems)))


def _as_problem(error: SopsError, file: str) -> Problem:
    place = Place(file, error.line or 1, error.column or 1)
    return problem(_SLUGS[error.reason], place, "", error.message, error.hint)


def _doubles(first: SecretEntry, second: SecretEntry) -> Iterator[Problem]:
    for one, other in ((first, second), (second, first)):
        message = f"the secret {one.name!r} also stands at {other.place}"
        yield problem("duplicate-secret", one.place, one.name, message, "keep one of the two")


def _unavailable(failed: Mapping[str, SopsError]) -> SecretsUnavailable:
    lines = [
        f"{Place(file, error.line, error.column) if error.line else file}: {error.message}"
        for file, error in failed.items()
    ]
    hints = dict.fromkeys(error.hint for error in failed.values() if error.hint)
    head = [f"{len(lines)} secrets files cannot be read:"] if len(lines) > 1 else []
    return SecretsUnavailable("\n".join([*head, *lines]), "\n".join(hints))


def _values(opened: Sequence["Opened"], file: str) -> _Opened:
    secrets: dict[str, BoundSecret] = {}
    problems: dict[str, list[Problem]] = {}
    parts: dict[str, list[Opened]] = {}
    for one in opened:
        path = one.leaf.path
        if len(path) == 1 and isinstance(one.value, str) and not one.clear:
            secrets[str(path[0])] = BoundSecret(Secret(one.value))
        else:
            parts.setdefault(str(path[0]), []).append(one)
    for name, some in parts.items():
        if faults := [fault for one in some for fault in _faults(one, file)]:
            problems[name] = faults
        else:
            secrets[name] = _bound(some)
    return _Opened(secrets, problems)


def _bound(parts: Sequence["Opened"]) -> BoundSecret:
    value = next(str(one.value) for one in parts if one.leaf.path[1] == shape.VALUE)
    hosts = tuple(_host(str(one.value)) for one in parts if one.leaf.path[1] == shape.HOSTS)
    anchors = tuple(_anchor(str(one.value)) for one in parts if one.leaf.path[1] == shape.ANCHORS)
    return BoundSecret(Secret(value), hosts or None, anchors or None)


def _faults(one: "Opened", file: str) -> Iterator[Problem]:
    """What is wrong with one value; its text is never part of the message."""
    place = Place(file, one.leaf.line, one.leaf.column)
    path = ".".join(map(str, one.leaf.path))
    if one.clear:
        yield problem("plain-secret", place, path, "the value is not encrypted")
    elif not isinstance(one.value, str):
        message = "the value is a number, true or false, not text"
        yield problem("secret-not-text", place, path, message, "put it in quotes with sops edit")
    elif shape.HOSTS in one.leaf.path[1:2] and not _HOST.fullmatch(_host(one.value)):
        message = "this host of the binding is not a host name or address"
        yield problem("bad-binding", place, path, message, "write the host without port or scheme")
    elif shape.ANCHORS in one.leaf.path[1:2] and not _ANCHOR.fullmatch(_anchor(one.value)):
        message = "this anchor of the binding is not a SHA-256 fingerprint"
        hint = "take it from: openssl x509 -noout -fingerprint -sha256 -in FILE"
        yield problem("bad-binding", place, path, message, hint)


def _host(text: str) -> str:
    return text.strip().lower().removeprefix("[").removesuffix("]")


def _anchor(text: str) -> str:
    return text.strip().lower().removeprefix("sha256:").replace(":", "").replace(" ", "")
