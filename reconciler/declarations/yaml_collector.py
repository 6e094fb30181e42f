"""The same walk over a file that is known to be wrong, from fault to fault."""

from typing import Any, Final

from yaml.events import CollectionEndEvent, CollectionStartEvent, MappingEndEvent, ScalarEvent

from reconciler.declarations.yaml_faults import Fault
from reconciler.declarations.yaml_positions import MAX_DEPTH
from reconciler.declarations.yaml_reader import Reader, duplicate, too_deep

MAX_FAULTS: Final = 1_000
"""Reading stops there: so many mistakes are one, and it is another."""

GAP: Final = "\0"
"""Stands for what was refused, as a value or as a key; no text that is accepted holds it."""

_LIMITS: Final = frozenset({"too-deep", "alias-expansion"})


class Collector(Reader):
    """Reads on behind whatever it cannot accept, as long as the structure is clear.

    Slower than what it is made from, and only ever used for a file that is known to be wrong.
    """

    __slots__ = ("faults",)

    def __init__(self, text: bytes, shared: dict[str, str]) -> None:
        super().__init__(text, shared)
        self.faults: list[Fault] = []

    def _collect(self, fault: Fault) -> None:
        """Raises the fault itself where reading cannot go on."""
        if fault.rule in _LIMITS or len(self.faults) >= MAX_FAULTS:
            raise fault
        self.faults.append(fault)

    def _map(self, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := self._get(), MappingEndEvent):
            key = self._any_key(event)
            if key is None:
                data[GAP] = GAP
                continue
            doubled = key in data and key != GAP
            if doubled:
                self._collect(duplicate(event, key))
            value = self._value(self._get(), depth)
            first = data[key] if doubled else None
            if isinstance(first, dict):
                first[GAP] = GAP  # it is judged, but what is missing in it may be in the second
            else:
                data[key] = GAP if doubled else value
        return data

    def _any_key(self, event: Any) -> str | None:
        """None for a merge, which is passed over with its value."""
        try:
            return self._key(event)
        except Fault as fault:
            self._collect(fault)
            merges = fault.rule == "merge-key"
        self._skip(event)
        if merges:  # nothing of what it would merge stays
            self._skip(self._get())
        return None if merges else GAP

    def _skip(self, event: Any) -> None:
        """Pass over a whole value that begins with this event."""
        depth = 0
        while True:
            self._forget(event)
            if isinstance(event, CollectionStartEvent):
                depth += 1
            elif isinstance(event, CollectionEndEvent):
                depth -= 1
            if not depth:
                return
            if depth > MAX_DEPTH:
                raise too_deep(event)
            event = self._get()

    def _value(self, event: Any, depth: int) -> Any:
        try:
            return super()._value(event, depth)
        except Fault as fault:
            if isinstance(event, CollectionStartEvent):
                raise
            self._collect(fault)
            self._forget(event)
        return GAP

    def _forget(self, event: Any) -> None:
        """What an alias of a refused value stands for is no further mistake."""
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.anchor:
            self._anchors[event.anchor] = GAP

    def _refuse_tag(self, event: Any) -> None:
        try:
            super()._refuse_tag(event)
        except Fault as fault:
            self._collect(fault)
