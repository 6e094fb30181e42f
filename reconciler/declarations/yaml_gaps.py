"""What of a file could not be read: whatever else is wrong only because of that is not told.

A file is judged in spite of its faults, so that all that is wrong with it shows at once. None then
stands where a value was refused, and here is remembered that it is not the author's.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

Path = tuple[str | int, ...]

_DEFAULTS: Final = "defaults"
_GATEWAYS: Final = "gateways"


class Gaps:
    """The paths of refused values, and of maps of which a key or more was refused."""

    __slots__ = ("_around", "_defaults", "_gateways", "_maps", "_values")

    def __init__(self, values: Collection[Path], maps: Collection[Path]) -> None:
        self._values = frozenset(values)
        self._maps = frozenset(maps)
        every = self._values | self._maps
        self._around = frozenset(path[:end] for path in every for end in range(1, len(path)))
        self._defaults = frozenset(
            path[1] for path in every if path[:1] == (_DEFAULTS,) and path[1:]
        )
        self._gateways = frozenset(
            path[1] for path in every if path[:1] == (_GATEWAYS,) and path[1:]
        )

    def explain(self, path: Sequence[str | int], *, missing: bool = False) -> bool:
        """Whether what is wrong with the value at a path may come from a gap there.

        `missing` says that it is not there at all: it may be what could not be read.
        """
        path = tuple(path)
        if path in self._around or path in self._maps:
            return True
        if missing and path[:-1] in self._maps:
            return True
        return any(path[:end] in self._values for end in range(len(path) + 1))

    def in_gateway(self, name: str, own: frozenset[str]) -> bool:
        """Whether a gateway, `own` being its keys, has a gap of its own or of the defaults."""
        return (
            name in self._gateways
            or not self._defaults <= own
            or not self._values.isdisjoint({(_DEFAULTS,), (_GATEWAYS,)})
            or (_DEFAULTS,) in self._maps
        )

    def lack_keys(self, *paths: Path) -> bool:
        """Whether one of these maps may hold keys that could not be read."""
        return any(path in self._maps or path in self._values for path in paths)


def without_gaps(data: Any, gap: str) -> tuple[Any, Gaps]:
    """A copy in which None stands for every `gap` that is a value, and no key is one."""
    values: list[Path] = []
    maps: list[Path] = []

    def copied(value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            if gap in value:
                maps.append(path)
            return {key: copied(inner, (*path, key)) for key, inner in value.items() if key != gap}
        if isinstance(value, list):
            return [copied(inner, (*path, index)) for index, inner in enumerate(value)]
        if value != gap:
            return value
        values.append(path)
        return None

    return copied(data, ()), Gaps(values, maps)
