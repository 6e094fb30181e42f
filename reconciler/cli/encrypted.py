"""`gateways-secrets-encrypted FILES`: refuses what must not be committed in the clear.

For hooks, which pass the files of a commit: quick, and without settings, keys or network. It judges
by content, since a wrong suffix is how plain passwords slip through: a file in a folder `secrets`
is a secrets file whatever it is called, and a private key is refused anywhere.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

import click

from reconciler.declarations.conflicts import conflict_line
from reconciler.errors import ExitCode
from reconciler.report.safe import log_line

if TYPE_CHECKING:
    from yaml.nodes import Node

_PRIVATE_KEY: Final = re.compile(
    rb"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{8}|-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"
)
_ENCRYPTED: Final = re.compile(r"ENC\[AES256_GCM,data:[^\]]*\]")
_YAML: Final = (".yaml", ".yml", ".json")
_SEALED: Final = "mac"
_ENCRYPT: Final = "sops encrypt --in-place FILE; if it was ever pushed, change the secret"
_LEAVE_OUT: Final = "leave it out of the commit; if it was ever pushed, make another"
_ONE_SIDE: Final = "take one side whole, and make the other side's change again with sops"

Fault = tuple[str, str]
"""`file:line:column: message`, never with the value; and what to do."""


@click.command(help="Refuse secrets files that are not encrypted, and private keys.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def main(files: Sequence[Path]) -> None:
    found = [fault for file in files if file.is_file() for fault in faults(file)]
    for message, _ in found:
        click.echo(log_line(message))
    for hint in dict.fromkeys(hint for _, hint in found):
        click.echo(f"hint: {hint}")
    sys.exit(ExitCode.INVALID if found else ExitCode.DONE)


def faults(file: Path) -> Iterator[Fault]:
    """What must not be committed."""
    data = file.read_bytes()
    if match := _PRIVATE_KEY.search(data):
        line = data.count(b"\n", 0, match.start()) + 1
        yield f"{file}:{line}:1: a private key, which belongs outside the repository", _LEAVE_OUT
    if is_secrets_file(file):
        yield from _plain(file, data)


def is_secrets_file(file: PurePath) -> bool:
    return file.suffix in _YAML and (".sops" in file.suffixes or "secrets" in file.parts[:-1])


def _plain(file: Path, data: bytes) -> Iterator[Fault]:
    import yaml

    try:
        documents = [node for node in yaml.compose_all(data, yaml.CSafeLoader) if node is not None]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        conflict = conflict_line(data)
        if conflict is None:
            yield f"{file}:1:1: a secrets file that is not YAML", _ENCRYPT
        else:
            yield f"{file}:{conflict + 1}:1: a secrets file with a merge conflict", _ONE_SIDE
        return
    for document in documents:
        yield from _plain_document(file, document)


def _plain_document(file: Path, document: "Node") -> Iterator[Fault]:
    from yaml.nodes import MappingNode

    entries = document.value if isinstance(document, MappingNode) else []
    if not any(key.value == "sops" and _sealed(value) for key, value in entries):
        line = document.start_mark.line + 1
        yield f"{file}:{line}:1: a secrets file that is not encrypted", _ENCRYPT
        return
    for key, value in entries:
        if key.value != "sops":
            yield from _plain_values(file, str(key.value), value)


def _sealed(block: "Node") -> bool:
    from yaml.nodes import MappingNode

    return isinstance(block, MappingNode) and any(key.value == _SEALED for key, _ in block.value)


def _plain_values(file: Path, name: str, node: "Node") -> Iterator[Fault]:
    """Every value in the clear; each node once, so that aliases cannot multiply the work."""
    from yaml.nodes import MappingNode, ScalarNode, SequenceNode

    waiting, seen = [node], set[int]()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, MappingNode):
            waiting.extend(value for _key, value in reversed(current.value))
        elif isinstance(current, SequenceNode):
            waiting.extend(reversed(current.value))
        elif isinstance(current, ScalarNode) and not _is_encrypted(current.value):
            mark = current.start_mark
            yield f"{file}:{mark.line + 1}:{mark.column + 1}: {name!r} is not encrypted", _ENCRYPT


def _is_encrypted(text: str) -> bool:
    """Empty text and null stay as they are in a sops file: they hide nothing."""
    return text in {"", "null", "~"} or _ENCRYPTED.fullmatch(text) is not None


if __name__ == "__main__":
    main()
