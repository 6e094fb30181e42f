"""Certificate files: found beside the declarations, opened without leaving the project, read once.

A declaration comes from whoever may open a pull request. So the path that it gives is walked one
folder at a time, only a small regular file inside the project is read, and no message ever quotes
what stands in it.
"""

import errno
import os
import posixpath
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from reconciler.declarations.certificate_facts import (
    CertificateFacts,
    NotACertificate,
    facts_of,
    split,
)
from reconciler.declarations.wording import nearest, quote
from reconciler.model import Certificate
from reconciler.pem import pem_of

LARGEST: Final = 64 * 1024
SUFFIXES: Final = (".pem", ".cer", ".crt")

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# a FIFO would otherwise hold up the opener until somebody writes
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_IS_LINK: Final = frozenset({errno.ELOOP, errno.ENOTDIR})

Fault = tuple[str, str, str]
"""A rule's slug, a message and a hint."""


@dataclass(frozen=True, slots=True)
class CertificateReading:
    """What became of one certificate file: a certificate and its facts, or a problem.

    `facts` are in the file's order; `der` says that the file holds DER rather than PEM; `is_leaf`
    that no certificate of it may sign another, so that it pins one server.
    """

    file: str
    certificate: Certificate | None = None
    facts: tuple[CertificateFacts, ...] = ()
    der: bool = False
    is_leaf: bool = False
    problem: Fault | None = None

    def usable(self, now: datetime) -> tuple[CertificateFacts, ...]:
        """The certificates that are valid at `now`."""
        return tuple(fact for fact in self.facts if fact.not_before <= now <= fact.not_after)


class CertificateFiles:
    """The certificate files of one project, each read once.

    Not safe to share between threads. A file that changes meanwhile is not read again.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_reference: dict[tuple[str, str], CertificateReading] = {}
        self._by_file: dict[str, CertificateReading] = {}
        self._faults: dict[tuple[str, datetime], tuple[Fault, ...]] = {}

    def read(self, declaring_file: str, path: str) -> CertificateReading:
        """The file at `path`, relative to the declaring file. Never raises for what is there."""
        folder = declaring_file.rpartition("/")[0]
        reading = self._by_reference.get((folder, path))
        if reading is None:
            reading = self._by_reference[folder, path] = self._read_reference(folder, path)
        return reading

    def inside(self, folder: str) -> tuple[CertificateReading, ...]:
        """Every certificate file that lies in a folder of the project, sorted; not deeper."""
        try:
            names = os.listdir(self._root / folder)  # noqa: PTH208  names are all that is wanted
        except OSError:
            return ()
        return tuple(
            self._read_file(posixpath.join(folder, name))
            for name in sorted(names)
            if name.endswith(SUFFIXES)
        )

    def remembered(self, file: str, now: datetime) -> tuple[Fault, ...] | None:
        """What rules found in a file at `now`, if it was judged before."""
        return self._faults.get((file, now))

    def remember(self, file: str, now: datetime, faults: tuple[Fault, ...]) -> None:
        self._faults[file, now] = faults

    def _read_reference(self, folder: str, path: str) -> CertificateReading:
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if path.startswith("/") or ".." in parts or "\0" in path or not parts:
            return CertificateReading(path, problem=_outside(path))
        return self._read_file(posixpath.join(folder, *parts))

    def _read_file(self, file: str) -> CertificateReading:
        reading = self._by_file.get(file)
        if reading is None:
            reading = self._by_file[file] = self._reading(file)
        return reading

    def _reading(self, file: str) -> CertificateReading:
        try:
            content = _read_inside(self._root, file)
            ders, der = split(content)
            facts = tuple(map(facts_of, ders))
        except NotACertificate as fault:
            problem = (fault.slug, f"certificate file {quote(file)} {fault.message}", fault.hint)
            return CertificateReading(file, problem=problem)
        except _Outside:
            return CertificateReading(file, problem=_outside(file))
        except (FileNotFoundError, NotADirectoryError):
            return CertificateReading(file, problem=self._missing(file))
        except OSError as fault:
            message = (
                f"certificate file {quote(file)} cannot be read: {os.strerror(fault.errno or 0)}"
            )
            return CertificateReading(file, problem=("certificate-unreadable", message, ""))
        is_leaf = not any(fact.authority for fact in facts)
        return CertificateReading(file, Certificate(file, pem_of(ders)), facts, der, is_leaf)

    def _missing(self, file: str) -> Fault:
        folder, _, name = file.rpartition("/")
        try:
            there = [n for n in os.listdir(self._root / folder) if n.endswith(SUFFIXES)]  # noqa: PTH208
        except OSError:
            there = []
        near = nearest(name, tuple(sorted(there)[:100]))
        hint = f"did you mean {quote(near)}?" if near else "the path is relative to this file"
        return "certificate-missing", f"certificate file {quote(file)} does not exist", hint


class _Outside(Exception):
    """A symbolic link leads out of the project."""


def _outside(path: str) -> Fault:
    return (
        "certificate-outside-project",
        f"certificate file {quote(path)} is not inside the project",
        "copy it into the project, for instance to certs/ beside the declarations",
    )


def _read_inside(root: Path, file: str) -> bytes:
    """The bytes of a small regular file below `root`; links are followed only if they stay there.

    The common case, no link at all, costs one open a folder. A link is resolved first and the
    result then opened without following any, so that a link swapped meanwhile gains nothing.
    """
    try:
        return _read_walking(root, file.split("/"))
    except OSError as fault:
        if fault.errno not in _IS_LINK:
            raise
    real_root = os.path.realpath(root)
    real = os.path.realpath(os.path.join(real_root, file))  # noqa: PTH118  strings as before
    if os.path.commonpath((real_root, real)) != real_root:
        raise _Outside
    return _read_walking(Path(real_root), os.path.relpath(real, real_root).split("/"))


def _read_walking(root: Path, parts: Sequence[str]) -> bytes:
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        file = os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        return _content(file)
    finally:
        os.close(file)


def _content(file: int) -> bytes:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise NotACertificate(
            "certificate-unreadable", "is not a regular file", "name the file itself"
        )
    content = bytearray()
    while piece := os.read(file, LARGEST + 1 - len(content)):
        content += piece
    if len(content) > LARGEST:
        raise NotACertificate(
            "certificate-unreadable",
            f"is larger than {LARGEST // 1024} KiB",
            "keep the root certificate of the mail server alone",
        )
    return bytes(content)
