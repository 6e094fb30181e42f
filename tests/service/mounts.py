"""Whether a test can have mounts of its own, which nobody else on the machine sees."""

import os
import subprocess
from pathlib import Path

import pytest

# what a kernel says to a user, a container or a plain chroot that may not: nothing to mend there
_REFUSALS = ("operation not permitted", "permission denied", "invalid argument")


def need_own_mounts(folder: Path) -> None:
    """Skip where `unshare -m` and a mount in it do not work; under CI that is a failure.

    Where the kernel itself refuses it (EPERM, EACCES, EINVAL) the test is skipped under CI too.
    """
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(folder)],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if tried.returncode == 0:
        return
    said = tried.stderr.strip()
    if any(refusal in said.lower() for refusal in _REFUSALS):
        pytest.skip(f"the kernel refuses mounts of our own here, even under CI: {said}")
    reason = f"no mounts of our own here: {said}"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; under CI this is an error", pytrace=False)
    pytest.skip(reason)
