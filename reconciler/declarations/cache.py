"""What was parsed in an earlier run, by the SHA-256 of each file's content.

A help and never more: a cache that is missing, damaged, another version's or another user's reads
as empty, and one that cannot be written is not written. Only what was parsed without a problem goes
in, so that a run with a cache says what a run without it would, and nothing that could hold a
password written there by mistake.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, Final

import yaml

from reconciler import __version__
from reconciler.model import CERTIFICATE_FIELD, PASSWORD_FIELD, Gateway

FORMAT: Final = 1
"""Raise it whenever the same text may give other data than before."""

_WORTH_WRITING: Final = 0.05
"""Share of entries that must have changed: writing all costs what parsing a twentieth does."""


_SHARED: Final = 20_000
_CHUNK: Final = 500
"""Entries to a line."""


def forget_some(shared: dict[str, str]) -> None:
    """Keep a dict of shared strings small: most strings of declarations occur only once."""
    if len(shared) > _SHARED:
        shared.clear()


_SECTIONS: Final = frozenset({"defaults", "gateways"})
_KEYS: Final = frozenset(
    {*(field.name for field in fields(Gateway)), PASSWORD_FIELD, CERTIFICATE_FIELD}
)
_SECRET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def may_hold_password(data: dict[str, Any]) -> bool:
    """Whether there is anything where a password could have been written by mistake.

    Such a file is parsed each time: what its author takes out again must not live on elsewhere.
    """
    gateways = data.get("gateways")
    maps = [data.get("defaults"), *(gateways.values() if isinstance(gateways, dict) else ())]
    return not data.keys() <= _SECTIONS or not all(map(_holds_names_only, maps))


def _holds_names_only(declared: Any) -> bool:
    if declared is None:
        return True
    if not isinstance(declared, dict) or not declared.keys() <= _KEYS:
        return False
    password = declared.get(PASSWORD_FIELD)
    if password is None:
        return True
    name = password.get("secret") if isinstance(password, dict) and len(password) == 1 else None
    return isinstance(name, str) and _SECRET_NAME.fullmatch(name) is not None


class ParseCache:
    """Parsed declarations of one project, in one file.

    JSON, since it can at worst be wrong data, never code. Written whole, beside the final name,
    and renamed: two runs at once each leave a complete file, and the later one stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stored: dict[str, Any] | None = None
        self._used: dict[str, Any] = {}
        self._missed = 0

    @classmethod
    def open(cls, root: Path, environment: Mapping[str, str] = os.environ) -> "ParseCache | None":
        """The user's cache of the project at `root`, below XDG_CACHE_HOME or ~/.cache.

        None where the environment names no folder for it.
        """
        base = Path(environment.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():
            base = Path(environment.get("HOME", ""), ".cache")
        if not base.is_absolute():
            return None
        name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
        return cls(base / "gateways" / name / f"parse-{FORMAT}.json")

    def get(self, digest: str) -> dict[str, Any] | None:
        """The data of the file with this SHA-256, or None where it is not known."""
        if self._stored is None:
            self._stored = _read(self._path)
        data = self._stored.get(digest)
        if not isinstance(data, dict):
            return None
        self._used[digest] = data
        return data

    def put(self, digest: str, data: dict[str, Any]) -> None:
        self._used[digest] = data
        self._missed += 1

    def save(self) -> None:
        """Keep what this run used and forget the rest, if enough changed to be worth it."""
        unused = len(self._stored or ()) + self._missed - len(self._used)
        if max(self._missed, unused) > _WORTH_WRITING * len(self._used):
            _write(self._path, self._used)
        self._stored, self._used, self._missed = None, {}, 0


def _stamp() -> bytes:
    return f"gateways {__version__} parse {FORMAT} yaml {yaml.__version__}\n".encode()


def _read(path: Path) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return {}  # someone else could have written it
            if file.readline(200) == _stamp():
                shared: dict[str, str] = {}
                for line in file:
                    entries.update(_chunk(line, shared))
                    forget_some(shared)
    except (OSError, ValueError, RecursionError):
        return {}
    return entries


def _chunk(line: bytes, shared: dict[str, str]) -> dict[str, Any]:
    """The entries of one line. Raises ValueError for a line that is not what was written."""
    digest, _, body = line.rstrip(b"\n").partition(b" ")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError

    def share(data: dict[str, Any]) -> dict[str, Any]:
        for key, value in data.items():
            if value.__class__ is str:
                data[key] = shared.setdefault(value, value)
        return data

    entries = json.loads(body, object_hook=share)
    return entries if isinstance(entries, dict) else {}


def _write(path: Path, entries: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(_stamp())
                file.writelines(_lines(entries))
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError, RecursionError):
        return


def _lines(entries: dict[str, Any]) -> Iterator[bytes]:
    """Many entries a line, so that neither writing nor reading holds the whole text at once."""
    rest = iter(entries.items())
    while chunk := dict(islice(rest, _CHUNK)):
        body = json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
        yield hashlib.sha256(body).hexdigest().encode() + b" " + body + b"\n"
