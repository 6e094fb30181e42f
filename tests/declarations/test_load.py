"""Which files of a folder are read, what becomes of those that cannot be, and in which order."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.declarations import load as load_module
from reconciler.declarations.catalogue.files import RULES
from reconciler.declarations.declaration_files import list_files
from reconciler.declarations.declared import Source
from reconciler.declarations.load import load
from reconciler.model import Place, Severity

GATEWAY = b"gateways:\n  support-out:\n    protocol_type: SMTP\n"
FOLDER = "gateways.d"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / FOLDER
    folder.mkdir(parents=True)
    (folder / "support.yaml").write_bytes(GATEWAY)
    return folder.parent


def problems(root: Path) -> list[tuple[str, str]]:
    return [(str(problem.place), problem.rule) for problem in load(root, FOLDER).problems]


def files(root: Path) -> list[str]:
    return [document.file for document in load(root, FOLDER).documents]


def test_files_come_in_the_order_of_their_names(root: Path) -> None:
    for name in ("z.yaml", "b.yml", "A.yaml", "a.yaml", "10.yaml", "9.yaml"):
        (root / FOLDER / name).write_bytes(GATEWAY)
    names = ["10.yaml", "9.yaml", "A.yaml", "a.yaml", "b.yml", "support.yaml", "z.yaml"]
    assert files(root) == [f"{FOLDER}/{name}" for name in names]
    assert problems(root) == []


def test_a_document_is_data_text_and_places(root: Path) -> None:
    (document,) = load(root, FOLDER).documents
    source: Source = document
    assert document.data == {"gateways": {"support-out": {"protocol_type": "SMTP"}}}
    assert document.text == GATEWAY
    path = ("gateways", "support-out", "protocol_type")
    assert source.place(path) == Place(f"{FOLDER}/support.yaml", 3, 20)
    assert document.place(path, key=True) == Place(f"{FOLDER}/support.yaml", 3, 5)
    assert "SMTP" not in repr(document)


def test_only_declarations_of_the_folder_itself_are_read(root: Path) -> None:
    for name in (
        "certs/a.yaml",
        "secrets/a.sops.yaml",
        "deeper/a.yaml",
        "a.sops.yaml",
        "b.sops.yml",
    ):
        path = root / FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not: [valid")
    for name in ("README.md", "a.yaml~", "a.yaml.swp", ".hidden.yaml", ".sops.yaml", "a.json"):
        (root / FOLDER / name).write_bytes(b"not: [valid")
    (root / FOLDER / ".#support.yaml").symlink_to("someone@host.1234")  # an editor's lock
    assert files(root) == [f"{FOLDER}/support.yaml"]
    assert problems(root) == []


@pytest.mark.parametrize("folder", ["gateways.d", "./gateways.d/", "gateways.d/../gateways.d"])
def test_places_name_the_folder_in_one_way(root: Path, folder: str) -> None:
    (document,) = load(root, folder).documents
    assert document.file == "gateways.d/support.yaml"


def test_a_broken_file_is_a_problem_and_the_others_are_read(root: Path) -> None:
    (root / FOLDER / "broken.yaml").write_bytes(b"a: 1\nb: [\n")
    (root / FOLDER / "list.yaml").write_bytes(b"- a\n")
    (root / FOLDER / "text.yml").write_bytes(b"gateways\n")
    assert files(root) == [f"{FOLDER}/support.yaml"]
    assert problems(root) == [
        (f"{FOLDER}/broken.yaml:3:1", "yaml-syntax"),
        (f"{FOLDER}/list.yaml:1:1", "not-a-map"),
        (f"{FOLDER}/text.yml:1:1", "not-a-map"),
    ]
    assert load(root, FOLDER).files == 4


def test_what_can_be_read_of_a_faulty_file_is_judged(root: Path) -> None:
    (root / FOLDER / "broken.yaml").write_bytes(b"a: 1\nb: yes\nc: no\n")
    (root / FOLDER / "list.yaml").write_bytes(b"- no\n")
    assert files(root) == [f"{FOLDER}/broken.yaml", f"{FOLDER}/support.yaml"]
    assert load(root, FOLDER).documents[0].data == {"a": 1, "b": None, "c": None}
    assert problems(root) == [
        (f"{FOLDER}/broken.yaml:2:4", "ambiguous-value"),
        (f"{FOLDER}/broken.yaml:3:4", "ambiguous-value"),
        (f"{FOLDER}/list.yaml:1:1", "not-a-map"),
        (f"{FOLDER}/list.yaml:1:3", "ambiguous-value"),
    ]


def test_the_size_that_is_accepted(root: Path) -> None:
    padding = b"#" * (1024 * 1024 - len(GATEWAY))
    (root / FOLDER / "fits.yaml").write_bytes(GATEWAY + padding)
    (root / FOLDER / "large.yaml").write_bytes(GATEWAY + padding + b"#")
    assert files(root) == [f"{FOLDER}/fits.yaml", f"{FOLDER}/support.yaml"]
    assert problems(root) == [(f"{FOLDER}/large.yaml:1:1", "file-too-large")]


def test_a_huge_file_is_not_read_whole(root: Path) -> None:
    with (root / FOLDER / "sparse.yaml").open("wb") as file:
        file.truncate(1 << 40)
    assert problems(root) == [(f"{FOLDER}/sparse.yaml:1:1", "file-too-large")]


def test_all_files_together_have_a_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "MAX_TOTAL_BYTES", 2 * len(GATEWAY))
    (root / FOLDER / "a.yaml").write_bytes(GATEWAY)
    assert problems(root) == []
    (root / FOLDER / "b.yaml").write_bytes(GATEWAY)
    assert problems(root) == [(f"{FOLDER}:1:1", "folder-too-large")]


def test_an_empty_file_is_a_warning(root: Path) -> None:
    (root / FOLDER / "empty.yaml").write_bytes(b"")
    (root / FOLDER / "comment.yaml").write_bytes(b"# later\n")
    found = load(root, FOLDER)
    assert [problem.rule for problem in found.problems] == ["empty-file"] * 2
    assert {problem.severity for problem in found.problems} == {Severity.WARNING}
    assert len(found.documents) == 1


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        make_socket,
        lambda path: path.symlink_to("../pipe"),
        lambda path: path.symlink_to("../gateways.d"),
    ],
    ids=["folder", "pipe", "socket", "link-to-pipe", "link-to-folder"],
)
def test_only_regular_files_are_opened(root: Path, make: Callable[[Path], None]) -> None:
    os.mkfifo(root / "pipe")
    make(root / FOLDER / "x.yaml")
    assert problems(root) == [(f"{FOLDER}/x.yaml:1:1", "not-a-file")]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a device")
def test_a_device_is_not_opened(root: Path) -> None:
    try:
        os.mknod(root / FOLDER / "x.yaml", 0o20666, os.makedev(1, 5))  # endless zeros
    except PermissionError:
        pytest.skip("devices cannot be made here")
    assert problems(root) == [(f"{FOLDER}/x.yaml:1:1", "not-a-file")]


def test_links_inside_the_project_are_fine(root: Path) -> None:
    (root / "shared").mkdir()
    (root / "shared/one.txt").write_bytes(GATEWAY)
    (root / FOLDER / "one.yaml").symlink_to("../shared/one.txt")
    (root / "two").symlink_to("shared")
    (root / FOLDER / "two.yaml").symlink_to(root / "two/one.txt")
    assert files(root) == [f"{FOLDER}/{name}.yaml" for name in ("one", "support", "two")]
    assert problems(root) == []


@pytest.mark.parametrize("target", ["../../outside.yaml", "/proc/self/environ", "/etc", "../out/a"])
def test_links_out_of_the_project(root: Path, target: str) -> None:
    (root.parent / "outside.yaml").write_bytes(GATEWAY)
    (root.parent / "out").mkdir()
    (root.parent / "out/a").write_bytes(GATEWAY)
    (root / "out").symlink_to("../out")
    (root / FOLDER / "x.yaml").symlink_to(target)
    assert problems(root) == [(f"{FOLDER}/x.yaml:1:1", "outside-project")]
    assert files(root) == [f"{FOLDER}/support.yaml"]


def test_a_neighbour_with_a_longer_name_is_outside(root: Path) -> None:
    neighbour = root.with_name(root.name + "-other")
    neighbour.mkdir()
    (neighbour / "a.yaml").write_bytes(GATEWAY)
    (root / FOLDER / "x.yaml").symlink_to(neighbour / "a.yaml")
    assert problems(root) == [(f"{FOLDER}/x.yaml:1:1", "outside-project")]


@pytest.mark.parametrize("target", ["missing.yaml", "x.yaml", "support.yaml/deeper"])
def test_links_that_lead_nowhere(root: Path, target: str) -> None:
    (root / FOLDER / "x.yaml").symlink_to(target)
    assert problems(root) == [(f"{FOLDER}/x.yaml:1:1", "dangling-link")]


def test_the_project_may_be_reached_through_a_link(root: Path) -> None:
    link = root.with_name("link")
    link.symlink_to(root)
    (root / FOLDER / "y.yaml").symlink_to("support.yaml")
    assert len(load(link, FOLDER).documents) == 2


@pytest.mark.parametrize("folder", ["../elsewhere", "linked", "/etc", ".."])
def test_a_folder_outside_the_project(root: Path, folder: str) -> None:
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere/a.yaml").write_bytes(GATEWAY)
    (root / "linked").symlink_to("../elsewhere")
    found = load(root, folder)
    assert [problem.rule for problem in found.problems] == ["outside-project"]
    assert found.documents == ()


def test_a_folder_that_is_a_link_inside_the_project(root: Path) -> None:
    (root / "linked").symlink_to(FOLDER)
    assert [document.file for document in load(root, "linked").documents] == ["linked/support.yaml"]


@pytest.mark.parametrize(
    ("folder", "rule", "severity"),
    [
        ("missing", "missing-declarations", Severity.ERROR),
        ("file", "missing-declarations", Severity.ERROR),
        ("dangling", "missing-declarations", Severity.ERROR),
        # warned of here, and blocked by the guard: an empty folder can be read, a missing one not
        ("empty", "no-declarations", Severity.WARNING),
        ("only-other-files", "no-declarations", Severity.WARNING),
    ],
)
def test_no_declarations_is_a_problem_and_not_an_empty_wish(
    root: Path, folder: str, rule: str, severity: Severity
) -> None:
    (root / "empty").mkdir()
    (root / "file").touch()
    (root / "dangling").symlink_to("nowhere")
    (root / "only-other-files").mkdir()
    (root / "only-other-files/README.md").touch()
    (problem,) = load(root, folder).problems
    assert (problem.place, problem.rule) == (Place(folder), rule)
    assert problem.severity is severity


@contextmanager
def not_root() -> Iterator[None]:
    """Root may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def open_root(root: Path) -> Path:
    path = root
    while path != path.parent and path.stat().st_uid == os.geteuid() and path != Path("/tmp"):  # noqa: S108
        path.chmod(path.stat().st_mode | 0o755)
        path = path.parent
    return root


def test_what_cannot_be_read_is_not_absent(open_root: Path) -> None:
    path = open_root / FOLDER / "x.yaml"
    path.write_bytes(GATEWAY)
    path.chmod(0)
    with not_root():
        found = load(open_root, FOLDER)
    assert [document.file for document in found.documents] == [f"{FOLDER}/support.yaml"]
    (problem,) = found.problems
    assert (problem.rule, problem.message) == (
        "unreadable-file",
        "this cannot be read: permission denied",
    )


def test_a_folder_that_cannot_be_listed(open_root: Path) -> None:
    (open_root / FOLDER).chmod(0)
    with not_root():
        found = load(open_root, FOLDER)
    (open_root / FOLDER).chmod(0o755)
    assert [(str(p.place), p.rule) for p in found.problems] == [
        (f"{FOLDER}:1:1", "unreadable-file")
    ]


def test_a_name_in_capital_letters_draws_a_warning(root: Path) -> None:
    (root / FOLDER / "other.YAML").write_bytes(GATEWAY)
    found = load(root, FOLDER)
    assert [(p.rule, p.severity) for p in found.problems] == [("unread-file", Severity.WARNING)]


@pytest.mark.parametrize(
    "name", [b"a\nb.yaml", b"\x1b[31m.yaml", b"\xff.yaml", "\u202ea.yaml".encode()]
)
def test_names_that_cannot_be_printed(root: Path, name: bytes) -> None:
    path = os.fsencode(root / FOLDER) + b"/" + name
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(GATEWAY)
    (problem,) = load(root, FOLDER).problems
    assert problem.rule == "file-name"
    assert problem.place.file.isprintable()
    assert problem.place.file.encode()


def test_a_file_that_vanishes_meanwhile(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lists and reads in two steps meets this; here the listing is an old one."""
    (root / FOLDER / "gone.yaml").write_bytes(GATEWAY)
    (root / FOLDER / "pipe.yaml").write_bytes(GATEWAY)
    (root / FOLDER / "link.yaml").write_bytes(GATEWAY)
    listed = list_files(str(root / FOLDER))
    for name in ("gone", "pipe", "link"):
        (root / FOLDER / f"{name}.yaml").unlink()
    os.mkfifo(root / FOLDER / "pipe.yaml")
    (root / FOLDER / "link.yaml").symlink_to("/etc/passwd")
    monkeypatch.setattr(load_module, "list_files", lambda _path: listed)
    assert problems(root) == [
        (f"{FOLDER}/gone.yaml:1:1", "file-vanished"),
        (f"{FOLDER}/link.yaml:1:1", "file-vanished"),
        (f"{FOLDER}/pipe.yaml:1:1", "not-a-file"),
    ]


def test_a_folder_that_changes_all_the_time(root: Path) -> None:
    """Each file is read once: whole, or a problem."""
    stop = threading.Event()
    path = root / FOLDER / "busy.yaml"

    def write() -> None:
        while not stop.is_set():
            path.write_bytes(GATEWAY)
            path.unlink()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        rules = {problem.rule for _ in range(200) for problem in load(root, FOLDER).problems}
    finally:
        stop.set()
        writer.join()
    assert rules <= {"file-vanished", "empty-file"}


def test_every_rule_of_files_has_a_slug_of_its_own() -> None:
    slugs = [rule.slug for rule in RULES]
    assert sorted(set(slugs)) == sorted(slugs)
    assert all(rule.title and rule.why and rule.mend for rule in RULES)
