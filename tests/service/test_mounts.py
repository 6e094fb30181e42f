"""Where a test that needs mounts of its own is skipped, and where it fails."""

from pathlib import Path

import pytest

from tests.service.mounts import need_own_mounts

CHROOT = "unshare: cannot change root filesystem propagation: Invalid argument"
USER = "unshare: unshare failed: Operation not permitted"
BROKEN = "unshare: failed to execute mount: No such file or directory"


@pytest.mark.parametrize(
    ("said", "ci", "outcome"),
    [
        (CHROOT, "", pytest.skip.Exception),
        (CHROOT, "true", pytest.skip.Exception),
        (USER, "true", pytest.skip.Exception),
        (BROKEN, "", pytest.skip.Exception),
        (BROKEN, "true", pytest.fail.Exception),
    ],
)
def test_only_the_kernels_word_excuses_ci(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    ci: str,
    outcome: type[BaseException],
) -> None:
    program = tmp_path / "unshare"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=said.partition(": ")[2]):
        need_own_mounts(tmp_path)
