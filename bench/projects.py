"""The projects that are measured, made when they are first asked for and shared between rows."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import octodns_zone, peers

DISCARD: Final = 9


@dataclass(frozen=True, slots=True)
class Project:
    """A generated project: its folder, and the environment that commands on it run in."""

    folder: Path
    environ: Mapping[str, str]

    @property
    def files(self) -> list[Path]:
        """Its declaration files, relative to its folder."""
        found = sorted((self.folder / "gateways.d").glob("*.yaml"))
        return [path.relative_to(self.folder) for path in found]

    @property
    def database(self) -> Path:
        return self.folder / ".gateways" / "platform.db"

    def forget_parses(self) -> None:
        """Take away the parse cache, so that the next run is cold."""
        cache = Path(self.environ["XDG_CACHE_HOME"])
        for file in cache.rglob("*.json"):
            file.unlink()

    def forget_gateways(self) -> None:
        """Take away the database, so that the next apply creates everything."""
        for file in self.database.parent.glob("platform.db*"):
            file.unlink()


class Projects:
    """Makes projects below one folder; each in a process of its own, so that this one stays small.

    The memory of a measured process counts from what its parent had when it was started.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plain(self, count: int) -> Project:
        """N gateways that are valid and draw no warning."""
        return self._made(f"plain-{count}", count)

    def filled(self, count: int) -> Project:
        """The same, all of them on the platform and connected."""
        project = self.plain(count)
        if not project.database.exists():
            run_python("bench.fill", project.folder, environ=project.environ)
        return project

    def paused(self, count: int) -> Path:
        """A database with the same, disconnected by hand: for a service that opens no session."""
        project = self.plain(count)
        database = project.folder.parent / "paused" / "platform.db"
        if not database.exists():
            run_python("bench.fill", project.folder, database, environ=project.environ)
        return database

    def hooked(self, count: int) -> Project:
        """N gateways in a folder that may become a git repository."""
        return self._made(f"hooked-{count}", count)

    def one_secret_a_file(self, count: int) -> Project:
        return self._made(f"secrets-{count}", count, "--secrets-per-file", "1")

    def logins(self, count: int, port: int, ca_file: Path) -> Project:
        """N IMAP gateways that all log in at the mail server on this port."""
        server = ("--host", "localhost", "--port", str(port), "--certificate", str(ca_file))
        return self._made(f"logins-{count}", count, *server)

    def unreachable(self, count: int) -> Project:
        """N IMAP gateways on a port of this machine that nothing listens on."""
        server = ("--host", "localhost", "--port", str(DISCARD))
        return self._made(f"unreachable-{count}", count, *server)

    def octodns(self, count: int) -> Path:
        folder = self.folder / f"octodns-{count}"
        if not folder.exists():
            octodns_zone.make(folder, count)
        return folder

    def _made(self, name: str, count: int, *options: str) -> Project:
        home = self.folder / name
        folder = home / "project"
        project = Project(
            folder,
            {
                "HOME": str(home),
                "XDG_CACHE_HOME": str(home / "cache"),
                "SOPS_AGE_KEY_FILE": str(home / "age-key.txt"),
            },
        )
        if not home.exists():
            home.mkdir(parents=True)
            run_python("bench.generate", folder, count, *options, environ=project.environ)
        return project


def run_python(module: str, *words: str | int | Path, environ: Mapping[str, str]) -> None:
    """Have one of our own programs make something; what it prints is not looked at."""
    subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=peers.CHECKOUT,
        env={**os.environ, **environ},
        check=True,
        stdout=subprocess.DEVNULL,
    )
