"""What a secrets file must look like, judged without a key: names, and nothing in clear.

A secret is one encrypted value, or a map of `value`, `hosts` and `anchors`. Nothing else is let
through, since sops binds a value to the names of its keys only joined by colons, and hashes no
structure: `a: {hosts: [x]}` and `"a:hosts": [x]` are the same to it, and to us the second would be
a secret whose binding has gone.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from reconciler.declarations.catalogue.secrets import problem
from reconciler.declarations.sops.document import BLOCK, Kind, Leaf, SopsDocument
from reconciler.model import Place, Problem, Severity

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
VALUE: Final = "value"
HOSTS: Final = "hosts"
ANCHORS: Final = "anchors"
_DEPTHS: Final = {VALUE: 2, HOSTS: 3, ANCHORS: 3}
_WRONG_FORM: Final = (
    "write it as NAME: PASSWORD, or as NAME: {value: PASSWORD, hosts: [HOST], anchors: [SHA256]}"
)


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """A secret as its file shows it without a key; `ciphertext` changes with every new value."""

    name: str
    file: str
    place: Place
    ciphertext: str


def entries(document: SopsDocument, file: str) -> tuple[list[SecretEntry], list[Problem]]:
    """The secrets of a parsed file in its order, and every problem that shows without a key."""
    found: list[SecretEntry] = []
    problems: list[Problem] = []
    if not document.block:
        problems.append(_no_block(document, file))
    elif not any(leaf.path == (BLOCK, "mac") and leaf.sealed for leaf in document.block):
        where, path = _place(document.block[0], file), BLOCK
        message = "the sops block has no MAC, so nothing proves that the file is whole"
        problems.append(problem("secrets-file-form", where, path, message, "undo the edit"))
    for name, group in groupby(document.leaves, key=lambda leaf: str(leaf.path[0])):
        leaves = list(group)
        found.append(_entry(name, leaves, file))
        if len(leaves) > 1 or not (leaves[0].sealed and len(leaves[0].path) == 1):
            problems += _shape_problems(name, leaves, file)
            if document.block:
                problems += [_plain(leaf, file) for leaf in leaves if _is_plain(leaf)]
        if not NAME.fullmatch(name):
            problems.append(_bad_name(leaves[0], file))
    return found, problems


def _entry(name: str, leaves: Sequence[Leaf], file: str) -> SecretEntry:
    digest = hashlib.sha256()
    for leaf in leaves:
        digest.update(f"{'.'.join(map(str, leaf.path))}\0{leaf.text}\0".encode())
    return SecretEntry(name, file, _place(leaves[0], file), "sha256:" + digest.hexdigest())


def _shape_problems(name: str, leaves: Sequence[Leaf], file: str) -> Iterator[Problem]:
    if len(leaves) == 1 and len(leaves[0].path) == 1:
        if leaves[0].kind in (Kind.EMPTY_MAP, Kind.EMPTY_LIST):
            yield _wrong_form(leaves[0], file)
        return
    for leaf in leaves:
        part = leaf.path[1] if len(leaf.path) > 1 else None
        depth = _DEPTHS.get(part) if isinstance(part, str) else None
        if depth != len(leaf.path) or (depth == 3 and not isinstance(leaf.path[2], int)):  # noqa: PLR2004
            yield _wrong_form(leaf, file)
    if not any(leaf.path[1:] == (VALUE,) for leaf in leaves):
        yield problem(
            "secrets-file-form",
            _place(leaves[0], file),
            name,
            "the secret has no value",
            _WRONG_FORM,
        )


def _is_plain(leaf: Leaf) -> bool:
    return not leaf.sealed and leaf.kind in (Kind.PLAIN, Kind.QUOTED)


def _no_block(document: SopsDocument, file: str) -> Problem:
    return problem(
        "not-encrypted",
        _place(document.leaves[0], file) if document.leaves else Place(file),
        "",
        "the file is not encrypted: it has no sops block",
        f"sops encrypt --in-place {file}; if it was ever pushed, change its secrets",
    )


def _plain(leaf: Leaf, file: str) -> Problem:
    return problem(
        "plain-secret",
        _place(leaf, file),
        _dotted(leaf),
        "the value is not encrypted" if leaf.text else "the value is empty or null",
        "set it with sops edit; if a password was ever pushed like this, change it",
    )


def _wrong_form(leaf: Leaf, file: str) -> Problem:
    message = "the entry is neither a secret nor one of the parts of a bound secret"
    return problem("secrets-file-form", _place(leaf, file), _dotted(leaf), message, _WRONG_FORM)


def _bad_name(leaf: Leaf, file: str) -> Problem:
    return Problem(
        _place(leaf, file),
        "",
        "bad-secret-name",
        Severity.ERROR,
        "the name of a secret has other characters than it may have",
        "use 1 to 128 letters, digits, dots, underscores and hyphens; no dot or hyphen first",
    )


def _place(leaf: Leaf, file: str) -> Place:
    return Place(file, leaf.line, leaf.column)


def _dotted(leaf: Leaf) -> str:
    return ".".join(map(str, leaf.path))
