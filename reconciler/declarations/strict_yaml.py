"""YAML read as data, and strictly: one document, one meaning for each scalar, no surprises.

Built on the events of libyaml, because its parser costs a third of what PyYAML's own constructors
do, and because events leave every decision here. Data and places are separate walks over the same
text: places are only ever needed of a file that has a problem or a change. So is what a file with
faults holds beside them: it is read once more.
"""

from typing import Any, Final

import yaml

from reconciler.declarations.yaml_collector import GAP, MAX_FAULTS, Collector
from reconciler.declarations.yaml_faults import Fault, Rest, YamlProblem
from reconciler.declarations.yaml_gaps import without_gaps
from reconciler.declarations.yaml_positions import MAX_DEPTH, Positions, positions, spots
from reconciler.declarations.yaml_reader import Reader
from reconciler.declarations.yaml_text import MAX_BYTES, checked, reworded
from reconciler.model import Problem

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_FAULTS",
    "Positions",
    "YamlProblem",
    "parse",
    "positions",
]

_BEFORE_READING: Final = frozenset({"file-too-large", "not-utf8"})


def parse(text: bytes, file: str, shared: dict[str, str] | None = None) -> Any:
    """The file's data: dict, list, str, int, float, bool and None; None for an empty document.

    Raises YamlProblem with every fault of the file, and nothing else: all of them up to the first
    that leaves no structure to read on in. Whoever reads many files may pass one dict as `shared`
    to all calls: equal values are then one string.
    """
    try:
        plain = checked(text)
    except Fault as fault:
        if fault.rule in _BEFORE_READING:
            raise YamlProblem([fault.problem(file, (), secret=False)]) from None
        raise YamlProblem(_problems([fault], text, file)[0]) from None
    try:
        return Reader(plain, {} if shared is None else shared).document()
    except (Fault, yaml.YAMLError):
        faults, rest = _read_on(plain)
    problems, spilled = _problems(faults, plain, file)
    raise YamlProblem(problems, None if spilled else rest)


def _read_on(plain: bytes) -> tuple[list[Fault], Rest | None]:
    """Read once more, from fault to fault; what could be read in spite of them, if all was."""
    reader = Collector(plain, {})
    rest = None
    try:
        rest = Rest(*without_gaps(reader.document(), GAP))
    except yaml.YAMLError as error:
        reader.faults.append(reworded(error, plain))
    except Fault as fault:
        reader.faults.append(fault)
    return reader.faults, rest


def _problems(faults: list[Fault], text: bytes, file: str) -> tuple[list[Problem], bool]:
    """Look up the faults' paths, which reading does not keep.

    Also says whether parts of a password may have come to stand for keys, which others would quote.
    """
    found = spots(text, {(fault.line, fault.column, fault.is_key): fault.echo for fault in faults})
    problems = set()
    for fault in faults:
        spot = found[fault.line, fault.column, fault.is_key]
        path = spot.path
        if fault.rule == "duplicate-key":
            path = path if spot.secret else (*path, fault.echo)
            fault.message += f"; the first is on line {spot.first or fault.line + 1}"
        problems.add(fault.problem(file, path, secret=spot.secret))
    return sorted(problems), any(spot.spilled for spot in found.values())
