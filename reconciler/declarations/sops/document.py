"""The text of a sops file, taken apart: its leaves in order, and the `sops:` block.

One walk over libyaml's events serves the keyless scan and the decryption. What a secrets file has
no use for, and what two YAML readers could take in two ways, is refused by name: aliases, tags,
merge keys, duplicate keys and several documents in one file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, NoReturn

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # absent from the type stubs

from reconciler.declarations.conflicts import conflict_line
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.scalars import resolve

MAX_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 64
_CONFLICT_HINT: Final = (
    "take one side whole, with git checkout --ours or --theirs and the file's name, and make the "
    "other side's change again with sops: one authentication code covers all of it"
)
BLOCK: Final = "sops"


class Kind(Enum):
    PLAIN = "plain"
    QUOTED = "quoted"
    EMPTY_MAP = "empty map"
    EMPTY_LIST = "empty list"


class Leaf(NamedTuple):
    """One scalar or empty collection; `line` and `column` count from 1 and point at it."""

    path: tuple[str | int, ...]
    text: str
    kind: Kind
    line: int
    column: int

    @property
    def keys(self) -> list[str]:
        """The path as sops binds it into a ciphertext: without the positions in lists."""
        return [part for part in self.path if isinstance(part, str)]

    @property
    def sealed(self) -> bool:
        """Whether it looks like a value that sops encrypted; only decrypting can tell."""
        return self.text.startswith("ENC[AES256_GCM,") and self.text.endswith("]")


@dataclass(frozen=True, slots=True)
class SopsDocument:
    """`text` is what was parsed: it, and no second reading of the file, goes to the real sops."""

    text: bytes
    leaves: Sequence[Leaf]
    block: Sequence[Leaf]

    def block_text(self, *path: str | int) -> str:
        """A scalar of the `sops:` block, "" if it is not there."""
        wanted = (BLOCK, *path)
        return next((leaf.text for leaf in self.block if leaf.path == wanted), "")


def parse(text: bytes) -> SopsDocument:
    """Take a sops file apart. A file without a `sops:` block has an empty one.

    Raises:
        SopsError: not UTF-8, not YAML, not a map at the top, or a construct that is refused.

    """
    if len(text) > MAX_BYTES:
        raise SopsError(Reason.NOT_READABLE, "the file is larger than 1 MiB", "split it")
    try:
        text.decode()
    except UnicodeDecodeError:
        raise SopsError(Reason.NOT_READABLE, "the file is not UTF-8 text") from None
    walk = _Walk(CParser(text))
    try:
        walk.file()
    except yaml.YAMLError as error:
        conflict = conflict_line(text)
        if conflict is not None:
            message = "git left a merge conflict here"
            raise SopsError(
                Reason.NOT_READABLE, message, _CONFLICT_HINT, line=conflict + 1, column=1
            ) from None
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = "the file is not valid YAML"
        raise SopsError(Reason.NOT_READABLE, message, line=line, column=column) from None
    inside = [leaf for leaf in walk.leaves if leaf.path[0] == BLOCK]
    for leaf in inside:
        if len(leaf.path) == 1 or not isinstance(leaf.path[1], str):
            message = "the sops block is not a map"
            raise SopsError(Reason.UNSUPPORTED, message, line=leaf.line, column=leaf.column)
    outside = [leaf for leaf in walk.leaves if leaf.path[0] != BLOCK] if inside else walk.leaves
    return SopsDocument(text, outside, inside)


class _Walk:
    """Reads events one after the other; nothing is built but the list of leaves."""

    def __init__(self, parser: Any) -> None:
        self.next: Callable[[], Any] = parser.get_event
        self.leaves: list[Leaf] = []

    def file(self) -> None:
        self.next()
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            raise SopsError(Reason.NOT_ENCRYPTED, "the file is empty")
        root = self.next()
        if not isinstance(root, yaml.MappingStartEvent):
            _refuse(root, "the file is not a map of names to secrets")
        self.node(root, ())
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            _refuse(event, "the file holds more than one YAML document", "use one file for each")

    def node(self, event: Any, path: tuple[str | int, ...]) -> None:
        if event.__class__ is yaml.AliasEvent:
            _refuse(event, "aliases are not used in a secrets file", "write the value out")
        if event.anchor is not None or event.tag is not None:
            _refuse(event, "anchors and tags are not used in a secrets file", "leave them out")
        if event.__class__ is yaml.ScalarEvent:
            kind = Kind.PLAIN if event.implicit[0] else Kind.QUOTED
            self.leaf(event, path, event.value, kind)
        elif len(path) >= _MAX_DEPTH:
            _refuse(event, f"the file is nested deeper than {_MAX_DEPTH} levels")
        elif event.__class__ is yaml.MappingStartEvent:
            self.mapping(event, path)
        else:
            self.sequence(event, path)

    def leaf(self, event: Any, path: tuple[str | int, ...], text: str, kind: Kind) -> None:
        mark = event.start_mark
        self.leaves.append(Leaf(path, text, kind, mark.line + 1, mark.column + 1))

    def mapping(self, start: Any, path: tuple[str | int, ...]) -> None:
        seen = set()
        while (event := self.next()).__class__ is not yaml.MappingEndEvent:
            key = _key(event)
            if key in seen:
                _refuse(event, "a key stands twice in the same map", "keep one of the two")
            seen.add(key)
            self.node(self.next(), (*path, key))
        if not seen and path:
            self.leaf(start, path, "", Kind.EMPTY_MAP)

    def sequence(self, start: Any, path: tuple[str | int, ...]) -> None:
        index = 0
        while (event := self.next()).__class__ is not yaml.SequenceEndEvent:
            self.node(event, (*path, index))
            index += 1
        if not index:
            self.leaf(start, path, "", Kind.EMPTY_LIST)


def _key(event: Any) -> str:
    if event.__class__ is not yaml.ScalarEvent or event.anchor is not None or event.tag is not None:
        _refuse(event, "a key of the map is not a plain name")
    key: str = event.value
    if key == "<<" or (event.implicit[0] and not isinstance(_resolved(event, key), str)):
        _refuse(event, "a key of the map is not text", "put it in quotes")
    return key


def _resolved(event: Any, text: str) -> object:
    try:
        return resolve(text)
    except SopsError:
        _refuse(event, "a key of the map is not text", "put it in quotes")


def _refuse(event: Any, message: str, hint: str = "") -> NoReturn:
    mark = event.start_mark
    raise SopsError(Reason.UNSUPPORTED, message, hint, line=mark.line + 1, column=mark.column + 1)
