"""One walk over the events of one file, up to its first fault."""

from collections.abc import Callable, Iterable
from sys import intern
from typing import Any, Final

from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from reconciler.declarations.yaml_faults import Fault
from reconciler.declarations.yaml_positions import MAX_DEPTH
from reconciler.declarations.yaml_scalars import (
    CORE_TAG,
    MAY_BE_MORE,
    Refused,
    refused_tag,
    resolve,
    resolve_tagged,
)
from reconciler.declarations.yaml_text import MAX_BYTES, Parser, has_control_character

MAX_EXPANDED: Final = 10_000
"""Values that the aliases of one file may stand for, all together."""
MAX_EXPANDED_TEXT: Final = MAX_BYTES
"""Characters of text in them: a long string repeated is as harmful as many short ones."""

_MAP_TAGS: Final = (None, "!", CORE_TAG + "map")
_LIST_TAGS: Final = (None, "!", CORE_TAG + "seq")
_QUOTE_IT: Final = 'quote it: "{}"'
_OPEN: Final = object()
_UNKNOWN: Final = object()


def _at(event: Any, rule: str, message: str, hint: str = "", **more: Any) -> Fault:
    mark = event.start_mark
    return Fault(rule, mark.line, mark.column, message, hint, **more)


class Reader:
    """One walk over the events of one file.

    The work for a key and its unquoted value is written out in `_map`, since it is nearly all
    there is in a file; everything else goes through `_value`.
    """

    __slots__ = ("_anchored", "_anchors", "_expanded", "_expanded_text", "_get", "_share")

    def __init__(self, text: bytes, shared: dict[str, str]) -> None:
        self._share = shared.setdefault
        self._get: Callable[[], Any] = Parser(text).get_event
        self._anchored = b"&" in text
        self._anchors: dict[str, Any] = {}
        self._expanded = 0
        self._expanded_text = 0

    def document(self) -> Any:
        get = self._get
        get()  # the stream's start
        if get().__class__ is StreamEndEvent:
            return None
        data = self._value(get(), 0)
        get()  # the document's end
        event = get()
        if event.__class__ is not StreamEndEvent:
            message = "a second document starts here"
            raise _at(event, "several-documents", message, "put each document in its own file")
        return data

    def _map(self, depth: int) -> dict[str, Any]:
        get = self._get
        share = self._share
        anchored = self._anchored
        data: dict[str, Any] = {}
        while True:
            event = get()
            if (
                event.__class__ is ScalarEvent
                and event.implicit[0]
                and (text := event.value)[:1] not in MAY_BE_MORE
                and not (anchored and event.anchor)
            ):
                key = intern(text)
            elif event.__class__ is MappingEndEvent:
                return data
            else:
                key = self._key(event)
            if key in data:
                raise duplicate(event, key)
            event = get()
            if (
                event.__class__ is ScalarEvent
                and event.implicit[0]
                and not (anchored and event.anchor)
            ):
                text = event.value
                data[key] = _plain(event) if text[:1] in MAY_BE_MORE else share(text, text)
            else:
                data[key] = self._value(event, depth)

    def _key(self, event: Any) -> str:
        """A key that is quoted, tagged, anchored, or not text at all."""
        if not isinstance(event, ScalarEvent):
            kind, hint = "a list or map", "write the key itself; quote a value that begins with {{"
            if isinstance(event, AliasEvent):
                kind, hint = "an alias", "write the key itself"
            raise _at(event, "key-not-text", f"a key must be text, not {kind}", hint, is_key=True)
        try:
            key = _scalar(event)
        except Fault as fault:
            fault.is_key, fault.noun, fault.generic = True, "the key ", "this key"
            fault.hint = _QUOTE_IT if fault.rule == "ambiguous-value" else fault.hint
            raise
        if not isinstance(key, str):
            echo = event.value
            message = "{} is not text" if echo else "a key is missing before this ':'"
            hint = _QUOTE_IT if echo else "write key: value"
            raise _key_fault(event, "key-not-text", message, hint, echo)
        if event.anchor:
            self._anchors[event.anchor] = key
        return key

    def _list(self, depth: int) -> list[Any]:
        get = self._get
        data: list[Any] = []
        while (event := get()).__class__ is not SequenceEndEvent:
            data.append(self._value(event, depth))
        return data

    def _value(self, event: Any, depth: int) -> Any:
        """Any value; `depth` counts the lists and maps around it."""
        kind = event.__class__
        if kind is AliasEvent:
            return self._alias(event, depth)
        if kind is ScalarEvent:
            value: Any = _scalar(event)
        else:
            value = self._collection(event, depth + 1)
        if event.anchor:
            self._anchors[event.anchor] = value
        return value

    def _collection(self, event: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise too_deep(event)
        is_map = event.__class__ is MappingStartEvent
        if event.tag not in (_MAP_TAGS if is_map else _LIST_TAGS):
            self._refuse_tag(event)
        if event.anchor:
            self._anchors[event.anchor] = _OPEN
        return self._map(depth) if is_map else self._list(depth)

    def _refuse_tag(self, event: Any) -> None:
        _settled(refused_tag(event.tag), event)

    def _alias(self, event: Any, depth: int) -> Any:
        name = event.anchor
        value = self._anchors.get(name, _UNKNOWN)
        more = {"echo": "*" + name, "generic": "this alias"}
        if value is _UNKNOWN:
            message = "{} has no anchor before it"
            hint = "a value that starts with * must be quoted"
            raise _at(event, "unknown-alias", message, hint, **more)
        if value is _OPEN:
            message = "{} stands inside its own anchor"
            hint = "an alias can only stand for a value that is complete"
            raise _at(event, "unknown-alias", message, hint, **more)
        self._expand(value, depth, event)
        return value

    def _expand(self, value: Any, depth: int, event: Any) -> None:
        """Count what an alias stands for, and stop at the first value too many.

        The data itself shares what is aliased; whoever walks or prints it later does not.
        """
        self._expanded += 1
        children: Iterable[Any] = ()
        if isinstance(value, str):
            self._expanded_text += len(value)
        elif isinstance(value, dict):
            self._expanded_text += sum(map(len, value))
            children = value.values()
        elif isinstance(value, list):
            children = value
        if self._expanded > MAX_EXPANDED or self._expanded_text > MAX_EXPANDED_TEXT:
            message = f"the aliases of this file stand for more than {MAX_EXPANDED:,} values"
            raise _at(event, "alias-expansion", message, "write the values out, in several files")
        if isinstance(value, dict | list) and depth >= MAX_DEPTH:
            raise too_deep(event)
        for child in children:
            self._expand(child, depth + 1, event)


def duplicate(event: Any, key: str) -> Fault:
    message = "{} stands twice in this map"
    return _key_fault(event, "duplicate-key", message, "keep one of them", key)


def _key_fault(event: Any, rule: str, message: str, hint: str, key: str) -> Fault:
    more = {"echo": key, "noun": "the key ", "generic": "this key"}
    return _at(event, rule, message, hint, **more, is_key=True)


def too_deep(event: Any) -> Fault:
    message = f"more than {MAX_DEPTH} lists and maps in one another"
    return _at(event, "too-deep", message, "write it flatter")


def _plain(event: Any) -> Any:
    value = resolve(event.value)
    return _settled(value, event) if value.__class__ is Refused else value


def _scalar(event: Any) -> Any:
    if event.implicit[0]:
        return _plain(event)
    text = event.value
    if has_control_character(text):
        message = "a control character is not accepted, not even as an escape"
        raise _at(event, "control-character", message, "delete it")
    if event.tag is not None and not event.implicit[1]:
        return _settled(resolve_tagged(event.tag, text), event)
    return text


def _settled(value: Any, event: Any) -> Any:
    if isinstance(value, Refused):
        tag = {"echo": value.echo, "noun": "the tag ", "generic": "this tag"}
        echo = tag if value.echo else {"echo": event.value}
        raise _at(event, value.rule, value.message, value.hint, **echo)
    return value
