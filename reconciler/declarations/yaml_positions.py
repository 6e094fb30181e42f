"""Where each value of a YAML file stands: a second walk, for files with a problem or a change.

It walks as far as it can and never raises, so that it can also tell where a broken file broke.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from reconciler.declarations.yaml_text import Parser
from reconciler.model import PASSWORD_FIELD, Place

MAX_DEPTH: Final = 64
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(slots=True)
class _Node:
    """Lines and columns count from 1; `key` is None in lists and at the top.

    `flow`: written with brackets; `password`: somewhere within them a password's key was read.
    """

    value: tuple[int, int]
    key: tuple[int, int] | None = None
    children: dict[str | int, "_Node"] = field(default_factory=dict)
    flow: bool = False
    password: bool = False


class Positions:
    """Places of one file's keys and values."""

    __slots__ = ("_file", "_top")

    def __init__(self, file: str, top: _Node) -> None:
        self._file = file
        self._top = top

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Place:
        """Where the value at `path` stands, or its key.

        Of a missing path, where the nearest parent's key stands; at the top, where the file begins.
        """
        node = self._top
        for step in path:
            child = node.children.get(step)
            if child is None:
                key = True
                break
            node = child
        line, column = node.key if key and node.key else node.value
        return Place(self._file, line, column)


@dataclass(frozen=True, slots=True)
class Spot:
    """What is known of a fault's place. `secret`: the file may hold a password there.

    `spilled`: what looks like other keys may be the rest of it. `first` is the line of an equal key
    before it in the same map.
    """

    path: tuple[str | int, ...]
    secret: bool
    first: int | None = None
    spilled: bool = False


Spots = dict[tuple[int, int, bool], Spot]


def positions(text: bytes, file: str) -> Positions:
    """Every place of the file, or of its part before the first fault."""
    walk = _Walk(text, {})
    walk.run()
    return Positions(file, walk.top)


def spots(text: bytes, wanted: Mapping[tuple[int, int, bool], str]) -> Spots:
    """What stands at lines and columns, which count from 0, as a key or as a value.

    Of a place that the walk does not come to, where the walk ended. `wanted` has the text of each
    key that may have been there before.
    """
    from_one = {
        (line + 1, column + 1, is_key): at for at in wanted for line, column, is_key in [at]
    }
    walk = _Walk(text, {mark: wanted[at] for mark, at in from_one.items()})
    walk.run()
    end = walk.spot()
    return {at: walk.found.get(mark, end) for mark, at in from_one.items()}


class _Stop(Exception):
    """The walk has come to the place that it was sent to, or can go no further."""


class _Walk:
    """`path` and `open` are the keys and containers that are open: where the walk stopped."""

    def __init__(self, text: bytes, wanted: Mapping[tuple[int, int, bool], str]) -> None:
        self._get: Callable[[], Any] = Parser(text.removeprefix(_BOM)).get_event
        self._wanted = wanted
        self._anchors: dict[str, _Node] = {}
        self.found: Spots = {}
        self.top = _Node((1, 1))
        self.path: list[str | int] = []
        self.open: list[_Node] = []

    def run(self) -> None:
        try:
            self._get()  # the stream's start
            self._get()  # the document's start, or the stream's end
            event = self._next(is_key=False)
            self.top.value = _start(event)
            self._fill(self.top, event)
        except (yaml.YAMLError, _Stop):
            return

    def spot(self, key: str = "") -> Spot:
        """The place where the walk is, without keys that may be a part of a password."""
        equal = self.open[-1].children.get(key) if self.open else None
        first = equal.key[0] if equal and equal.key else None
        for depth, node in enumerate(self.open):
            # {user_password: a,b}: what looks like another key may be the rest of a password
            if node.password:
                return Spot(tuple(self.path[:depth]), secret=True, first=first, spilled=True)
        secret = PASSWORD_FIELD in self.path or not self.open
        return Spot(tuple(self.path), secret, first)

    def _next(self, *, is_key: bool) -> Any:
        event = self._get()
        if isinstance(event, CollectionEndEvent):
            return event  # of a block, it has the place of what comes next
        if event is None:
            raise _Stop
        at = (*_start(event), is_key)
        if at in self._wanted and at not in self.found:
            self.found[at] = self.spot(self._wanted[at])
        return event

    def _fill(self, node: _Node, event: Any) -> None:
        if isinstance(event, AliasEvent):
            node.children = self._anchors.get(event.anchor or "", node).children
            return
        if not isinstance(event, NodeEvent) or len(self.open) >= MAX_DEPTH:
            raise _Stop
        if event.anchor:
            self._anchors[event.anchor] = node
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            node.flow = bool(event.flow_style)
            self.open.append(node)
            if isinstance(event, MappingStartEvent):
                self._fill_map(node)
            else:
                self._fill_list(node)
            self.open.pop()

    def _fill_map(self, node: _Node) -> None:
        while not isinstance(key := self._next(is_key=True), MappingEndEvent):
            if isinstance(key, ScalarEvent):
                self._child(node, key.value, _start(key))
            else:
                self._fill(_Node(_start(key)), key)  # refused as a key; what it holds has no path
                value = self._next(is_key=False)
                self._fill(_Node(_start(value)), value)

    def _fill_list(self, node: _Node) -> None:
        end = False
        while not end:
            end = self._child(node, len(node.children), None)

    def _child(self, parent: _Node, step: str | int, key: tuple[int, int] | None) -> bool:
        """Read a value; True if it was the list's end instead."""
        child = _Node(parent.value, key)
        known = parent.children.setdefault(step, child)  # of equal keys the first is the answer
        self.path.append(step)
        if step == PASSWORD_FIELD:
            for node in self.open:
                node.password = node.flow
        event = self._next(is_key=False)
        child.value = _start(event)
        end = isinstance(event, SequenceEndEvent)
        if end and known is child:
            del parent.children[step]
        if not end:
            self._fill(child, event)
        self.path.pop()
        return end


def _start(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
