"""The rows about the API, as they are run, with few gateways."""

from collections.abc import Callable, Iterator

import pytest

from bench.api import all_gateways, apply_creates, one_gateway
from bench.projects import Projects
from bench.rows import Setup
from bench.table import Row


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return Setup(Projects(tmp_path_factory.mktemp("bench")), divisor=100, runs=1)


@pytest.mark.parametrize(
    ("measure", "rows"), [(one_gateway, 1), (all_gateways, 4), (apply_creates, 2)]
)
def test_both_sides_are_answered(
    setup: Setup, measure: Callable[[Setup], Iterator[Row]], rows: int
) -> None:
    """A side that is refused, or not answered, ends the row with an error."""
    found = list(measure(setup))
    assert len(found) == rows
    assert all(row.ours.low > 0 and row.theirs and row.theirs.low > 0 for row in found)
