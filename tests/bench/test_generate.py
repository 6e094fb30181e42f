"""What is measured must be what it claims to be: valid, no warning, and nothing to do."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.fill import fill
from bench.generate import KEY_FILE, Shape, declaration, make
from bench.measure import Failed, Side, Spread, compare
from bench.table import Row, markdown

COUNT = 60


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bench") / "project"
    make(folder, Shape(COUNT, secrets_per_file=25))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOPS_AGE_KEY_FILE", str(folder.parent / KEY_FILE))
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        yield folder


def gateways(folder: Path, *words: str) -> dict[str, object]:
    command = [sys.executable, "-m", "reconciler", "-C", str(folder), *words, "--format", "json"]
    ran = subprocess.run(command, check=True, capture_output=True, env=os.environ)
    found: dict[str, object] = json.loads(ran.stdout)
    return found


def test_valid_and_without_a_warning(project: Path) -> None:
    found = gateways(project, "validate")
    assert found["problems"] == []
    assert found["summary"] == {"files": COUNT, "gateways": COUNT, "errors": 0, "warnings": 0}


def test_three_secrets_files_and_the_fingerprint_key(project: Path) -> None:
    assert len(list((project / "gateways.d/secrets").glob("*.sops.yaml"))) == 4


def test_nothing_to_do_once_filled(project: Path) -> None:
    before = gateways(project, "plan")["summary"]
    assert isinstance(before, dict)
    assert (before["create"], before["unchanged"]) == (COUNT, 0)
    assert fill(project) == COUNT
    after = gateways(project, "plan")
    assert after["changes"] == []
    summary = after["summary"]
    assert isinstance(summary, dict)
    assert summary["unchanged"] == COUNT


def test_fourteen_fields_and_one_label_in_ten() -> None:
    texts = [declaration(number) for number in range(20)]
    assert {len(text.splitlines()) - 2 - ("labels" in text) for text in texts} == {14}
    assert sum("labels" in text for text in texts) == 2


def test_a_command_that_fails_is_not_measured(tmp_path: Path) -> None:
    good = Side([sys.executable, "-c", "pass"], tmp_path)
    (figures,) = compare([good], 2)
    assert figures.seconds.low > 0
    assert figures.memory.low > 1
    with pytest.raises(Failed, match="ended with 3"):
        compare([Side([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)], 1)


def test_ratios_are_of_medians() -> None:
    ours, theirs = Spread.of([1.0, 9.0, 2.0]), Spread.of([4.0, 4.0, 5.0])
    row = Row("X", "this", ours, "s", "that", theirs, 0.5)
    assert (row.ratio, row.met) == (0.5, True)
    assert markdown([row]).splitlines()[-1].startswith("| X  | this | 2 (1-9) s")


def test_more_is_better_where_things_are_counted_in_a_second() -> None:
    ours, theirs = Spread.of([1_500.0]), Spread.of([2_000.0])
    verdicts = [
        Row("X", "this", ours, "a second", "that", theirs, target, at_least=True).met
        for target in (0.7, 0.8)
    ]
    assert verdicts == [True, False]
    assert "| 1,500 (1,500-1,500) a second |" in markdown(
        [Row("X", "", ours, "a second", "", theirs, 1.0)]
    )
