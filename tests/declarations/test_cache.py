"""The cache makes runs faster and can change nothing else."""

import json
import multiprocessing
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.declarations import load as load_module
from reconciler.declarations.cache import ParseCache
from reconciler.declarations.load import Loaded, load
from reconciler.declarations.strict_yaml import YamlProblem, parse

FOLDER = "gateways.d"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER
    folder.mkdir()
    for number in range(30):
        (folder / f"g{number:02}.yaml").write_text(
            f"gateways:\n  g{number}:\n    port: {number}\n    labels: {{é: 'x', f: 1.50, g: ~}}\n"
            f"    protect: true\n    host: &t [a, b]\n    user_id: *t\n"
        )
    return tmp_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache/gateways/parse.json"


class Counter:
    """Counts how often a file is really parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[str] = []
        monkeypatch.setattr(load_module, "parse", self)

    def __call__(self, text: bytes, file: str, shared: dict[str, str]) -> Any:
        self.files.append(file)
        return parse(text, file, shared)

    def take(self) -> int:
        count = len(self.files)
        self.files.clear()
        return count


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


def shown(loaded: Loaded) -> tuple[list[tuple[str, str]], str]:
    # repr tells 1 from True and shows the order of keys
    return [(d.file, repr(d.data)) for d in loaded.documents], repr(loaded.problems)


def test_a_second_run_parses_nothing(root: Path, path: Path, parsed: Counter) -> None:
    plain = shown(load(root, FOLDER))
    assert parsed.take() == 30
    assert shown(load(root, FOLDER, ParseCache(path))) == plain
    assert parsed.take() == 30
    assert shown(load(root, FOLDER, ParseCache(path))) == plain
    assert parsed.take() == 0


def test_only_what_changed_is_parsed(root: Path, path: Path, parsed: Counter) -> None:
    load(root, FOLDER, ParseCache(path))
    parsed.take()
    (root / FOLDER / "g05.yaml").write_text("gateways: {g5: {port: 5}}\n")
    (root / FOLDER / "g06.yaml").write_text("gateways: {g6: {port: 6}}\n")
    assert shown(load(root, FOLDER, ParseCache(path))) == shown(load(root, FOLDER))
    assert parsed.take() == 2 + 30
    load(root, FOLDER, ParseCache(path))
    assert parsed.take() == 0


def test_a_renamed_file_is_known_by_its_content(root: Path, path: Path, parsed: Counter) -> None:
    load(root, FOLDER, ParseCache(path))
    parsed.take()
    (root / FOLDER / "g05.yaml").rename(root / FOLDER / "renamed.yaml")
    assert load(root, FOLDER, ParseCache(path)).documents[-1].file == f"{FOLDER}/renamed.yaml"
    assert parsed.take() == 0


def test_problems_are_found_again_each_time(root: Path, path: Path) -> None:
    (root / FOLDER / "broken.yaml").write_text("a: yes\n")
    (root / FOLDER / "empty.yaml").write_text("")
    (root / FOLDER / "list.yaml").write_text("[]")
    first = load(root, FOLDER, ParseCache(path))
    assert len(first.problems) == 3
    assert shown(load(root, FOLDER, ParseCache(path))) == shown(first)


def test_places_are_those_of_the_file(root: Path, path: Path) -> None:
    load(root, FOLDER, ParseCache(path))
    (document, *_) = load(root, FOLDER, ParseCache(path)).documents
    assert str(document.place(("gateways", "g0", "port"))) == f"{FOLDER}/g00.yaml:3:11"


def entries(path: Path) -> int:
    lines = path.read_bytes().splitlines()[1:]
    return sum(len(json.loads(line.partition(b" ")[2])) for line in lines)


def test_what_is_no_longer_used_is_forgotten(root: Path, path: Path) -> None:
    load(root, FOLDER, ParseCache(path))
    assert entries(path) == 30
    for number in range(20):
        (root / FOLDER / f"g{number:02}.yaml").unlink()
    load(root, FOLDER, ParseCache(path))
    assert entries(path) == 10


def test_a_small_change_of_a_large_project_is_not_worth_writing(path: Path) -> None:
    """Writing 10,000 entries takes longer than parsing ten files again."""
    cache = ParseCache(path)
    for number in range(1000):
        cache.put(str(number), {"n": number})
    cache.save()
    before = path.stat().st_ino
    for count, written in ((10, False), (100, True)):
        cache = ParseCache(path)
        for number in range(1000 - count):
            assert cache.get(str(number)) == {"n": number}
        for number in range(count):
            cache.put(f"new {number}", {})
        cache.save()
        assert (path.stat().st_ino != before) is written


def test_it_is_private(root: Path, path: Path) -> None:
    old = os.umask(0)
    try:
        load(root, FOLDER, ParseCache(path))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [child.name for child in path.parent.iterdir()] == [path.name]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_cache_changes_nothing(root: Path, path: Path, data: st.DataObject) -> None:
    plain = shown(load(root, FOLDER))
    path.unlink(missing_ok=True)
    load(root, FOLDER, ParseCache(path))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["cut", "flip", "insert", "replace"])):
        case "cut":
            del content[at:]
        case "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        case "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=5))
        case _:
            content = bytearray(data.draw(st.binary(max_size=50)))
    path.write_bytes(content)
    assert shown(load(root, FOLDER, ParseCache(path))) == plain
    assert shown(load(root, FOLDER, ParseCache(path))) == plain


def test_entries_of_another_version_are_not_used(root: Path, path: Path, parsed: Counter) -> None:
    load(root, FOLDER, ParseCache(path))
    content = path.read_bytes()
    parsed.take()
    path.write_bytes(content.replace(b"parse 1", b"parse 0", 1))
    load(root, FOLDER, ParseCache(path))
    assert parsed.take() == 30


def test_entries_that_another_user_could_have_written(
    root: Path, path: Path, parsed: Counter
) -> None:
    load(root, FOLDER, ParseCache(path))
    parsed.take()
    path.chmod(0o622)
    load(root, FOLDER, ParseCache(path))
    assert parsed.take() == 30
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        load(root, FOLDER, ParseCache(path))
        assert parsed.take() == 30


def blocked_places(tmp_path: Path) -> list[Path]:
    (tmp_path / "file").touch()
    (tmp_path / "folder/parse.json").mkdir(parents=True)
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes/parse.json")
    (tmp_path / "loop").symlink_to("loop")
    return [
        tmp_path / "file/parse.json",
        tmp_path / "folder/parse.json",
        tmp_path / "pipes/parse.json",
        tmp_path / "loop/parse.json",
        Path("/proc/gateways/parse.json"),
        tmp_path / ("x" * 300),
        Path("/dev/null"),
        Path("/dev/full/parse.json"),
    ]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("number", range(8))
def test_a_place_that_cannot_be_used_is_no_failure(root: Path, tmp_path: Path, number: int) -> None:
    place = blocked_places(tmp_path)[number]
    if place == Path("/dev/null"):
        place = tmp_path / "linked.json"
        place.symlink_to("/dev/null")
    assert shown(load(root, FOLDER, ParseCache(place))) == shown(load(root, FOLDER))


def load_as_nobody(root: Path, path: Path) -> None:
    os.setgid(65534)
    os.setuid(65534)
    loaded = load(root, FOLDER, ParseCache(path))
    os._exit(0 if len(loaded.documents) == 30 else 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become a user who may not write")
def test_a_folder_that_may_not_be_written(root: Path, tmp_path: Path) -> None:
    ancestor = tmp_path
    while ancestor != ancestor.parent and ancestor != Path("/tmp"):  # noqa: S108
        ancestor.chmod(0o755)
        ancestor = ancestor.parent
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    process = multiprocessing.get_context("spawn").Process(
        target=load_as_nobody, args=(root, locked / "parse.json")
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert list(locked.iterdir()) == []


def load_again_and_again(root: Path, path: Path, times: int) -> None:
    plain = shown(load(root, FOLDER))
    for turn in range(times):
        if turn % 3 == 0:
            path.unlink(missing_ok=True)
        if shown(load(root, FOLDER, ParseCache(path))) != plain:
            os._exit(1)
    os._exit(0)


def test_several_processes_at_once(root: Path, path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=load_again_and_again, args=(root, path, 60)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    leftovers = [child.name for child in path.parent.iterdir() if child != path]
    assert leftovers == []


@pytest.mark.parametrize(
    ("environment", "parent"),
    [
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/gateways"),
        ({"HOME": "/h"}, "/h/.cache/gateways"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/gateways"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/gateways"),
        ({}, None),
        ({"HOME": "relative"}, None),
    ],
)
def test_where_it_lies(environment: dict[str, str], parent: str | None, tmp_path: Path) -> None:
    cache = ParseCache.open(tmp_path, environment)
    found = None if cache is None else str(cache._path.parent.parent)
    assert found == parent


def test_each_project_has_its_own_and_a_link_to_it_the_same(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "link").symlink_to("one")
    environment = {"HOME": "/h"}
    one, two, link = (
        ParseCache.open(tmp_path / name, environment) for name in ("one", "two", "link")
    )
    assert one is not None
    assert two is not None
    assert link is not None
    assert one._path == link._path != two._path


def test_what_json_cannot_hold_is_never_parsed() -> None:
    """Infinity and other than text keys would not survive; the parser refuses them first."""
    for text in (b"a: .inf", b"1: a", b"a: 1" + b"0" * 400 + b".0"):
        with pytest.raises(YamlProblem):
            parse(text, "f.yaml")


@pytest.mark.parametrize(
    "line",
    [
        "user_password: hunter2",
        "user_password: {secret: 'hunter 2'}",
        "user_password: {value: hunter2}",
        "user_password: {secret: a, value: hunter2}",
        "password: hunter2",
    ],
)
@pytest.mark.parametrize("section", ["defaults", "gateways"])
def test_a_password_written_by_mistake_is_not_kept(
    root: Path, path: Path, line: str, section: str
) -> None:
    """A37: what its author takes out again must not live on in a file that nobody looks at."""
    inner = f"{{{line}}}" if section == "defaults" else f"{{a: {{{line}}}}}"
    (root / FOLDER / "x.yaml").write_text(f"{section}: {inner}\n")
    load(root, FOLDER, ParseCache(path))
    assert path.exists()
    assert "hunter" not in path.read_text()
