"""What was measured, as a table for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.measure import Spread

HEAD = ("id", "what", "ours", "peer or limit", "theirs", "ratio", "target", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. Ratios are of medians; the target is the most that the ratio may be.

    With `at_least` it is the least: more is better, as where things are counted in a second.
    `theirs` is None where the figure itself is compared with a limit; `target` is None where a
    figure is shown for information.
    """

    id: str
    what: str
    ours: Spread
    unit: str
    peer: str
    theirs: Spread | None
    target: float | None
    at_least: bool = False

    @property
    def ratio(self) -> float:
        return self.ours.median / self.theirs.median if self.theirs else self.ours.median

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target

    def cells(self) -> tuple[str, ...]:
        verdict = {True: "yes", False: "NO", None: ""}[self.met]
        return (
            self.id,
            self.what,
            f"{self.ours} {self.unit}",
            self.peer,
            f"{self.theirs} {self.unit}" if self.theirs else "",
            f"{self.ratio:.3g}",
            "" if self.target is None else f"{'>=' if self.at_least else '<='} {self.target:g}",
            verdict,
        )

    def data(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def markdown(rows: Sequence[Row]) -> str:
    """The table, readable as text and as Markdown."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    first, *rest = (_line(cells, widths) for cells in lines)
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([first, rule, *rest])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
