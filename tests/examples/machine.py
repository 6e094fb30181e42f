"""What a job runs on: an empty home, the system's programs, gateways once it is installed."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

CHECKOUT: Final = Path(__file__).parents[2]
SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
GIT: Final = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_NAME": "Carol" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "carol@example.test" for who in ("AUTHOR", "COMMITTER")},
}


@dataclass(frozen=True)
class Ended:
    """A script's exit code, and what it printed; a runner reads both streams as one log."""

    code: int
    log: str


def git(folder: Path, *arguments: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **GIT}
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


class Machine:
    """Installs as the workflows say: pip, by hash, from a wheel of this checkout, without network.

    What gateways requires is not installed once more: it is found in `requirements`, where this
    checkout itself is not.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        wheels = home / "wheels"
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
        subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
        (self.wheel,) = wheels.iterdir()
        self.python = home / "python"
        subprocess.run([sys.executable, "-m", "venv", str(self.python)], check=True)
        self.requirements = link_requirements(home)
        self.installed: set[tuple[str, str]] = set()

    def pin(self, digest: str = "") -> str:
        """The requirements file that pins the wheel by its hash, or by another one."""
        digest = digest or hashlib.sha256(self.wheel.read_bytes()).hexdigest()
        return f"gateways-reconciler @ {self.wheel.as_uri()} --hash=sha256:{digest}\n"

    def environ(self, home: Path) -> dict[str, str]:
        home.mkdir(exist_ok=True)
        return {
            "PATH": f"{self.python}/bin:{SYSTEM_PATH}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "CI": "true",
            "PYTHONPATH": str(self.requirements),
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }


def link_requirements(home: Path) -> Path:
    """A folder with all that is installed beside this checkout, and not the checkout itself."""
    folder = home / "requirements"
    folder.mkdir()
    for path in Path(yaml.__file__).parents[1].iterdir():
        if "gateways_reconciler" not in path.name:
            (folder / path.name).symlink_to(path)
    return folder


def run(script: str, folder: Path, environ: Mapping[str, str]) -> Ended:
    """A script in bash as both forges start it."""
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=100,
        check=False,
    )
    log = done.stdout.decode("utf-8", "replace")
    assert "Traceback" not in log, log
    return Ended(done.returncode, log)
