"""Files of another commit, byte for byte, whatever lies in the folder now."""

import subprocess
from pathlib import Path

import pytest

from reconciler.git import file_at, files_at

CONTENTS = {
    "mail.yaml": b"gateways: {}\n",
    "empty.yaml": b"",
    "no line break at the end": b"x",
    "lines\nand binary": b"\n\n\0blob 12\n\xff\n" * 50,
    "deep/er/file": b"deeper\r\n",
    "\u00e4 \u20ac": b"1",
}


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.test")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project in a folder of its repository, committed and then taken away."""
    root = tmp_path / "project"
    for name, content in CONTENTS.items():
        path = root / "gateways.d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "gateways.d/link.yaml").symlink_to("/etc/passwd")
    (root / "other").write_text("other")
    (tmp_path / "outside").write_text("outside")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    for name in CONTENTS:
        (root / "gateways.d" / name).unlink()
    return root


def test_every_regular_file_as_it_was(root: Path) -> None:
    found = files_at(root, "main", ["gateways.d"])
    assert found == {f"gateways.d/{name}": content for name, content in CONTENTS.items()}
    assert files_at(root, "main", ["gateways.d/deep", "nowhere"]) == {
        "gateways.d/deep/er/file": b"deeper\r\n"
    }
    everything = files_at(root, "main", ["."])
    assert everything is not None
    assert everything.keys() == {*found, "other"}, "and nothing from above the project"
    assert files_at(root, "main", ["nowhere"]) == {}


@pytest.mark.parametrize("ref", ["nowhere", "--all", "main:project", "main^{tree}", ""])
def test_what_is_no_commit(root: Path, ref: str) -> None:
    assert files_at(root, ref, ["gateways.d"]) is None
    assert file_at(root, ref, "other") is None


def test_a_clone_without_all_files(root: Path) -> None:
    """Nothing is taken for absent, or one file for another."""
    blob = git(root, "rev-parse", "main:./gateways.d/mail.yaml").strip()
    loose = root.parent / ".git/objects" / blob[:2] / blob[2:]
    loose.chmod(0o600)
    loose.unlink()
    assert files_at(root, "main", ["gateways.d"]) is None
    assert files_at(root, "main", ["gateways.d/deep"]) is not None
