"""The gateway service as it is run, in a process of its own."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.measure import Failed
from bench.peers import CHECKOUT, ours

TOKEN_VARIABLE: Final = "GATEWAYS_TOKEN"
_LISTENING: Final = re.compile(r"listening on http://127\.0\.0\.1:([0-9]+)")
_PATIENCE_SECONDS: Final = 60.0


def new_token(database: Path, tenant: str, role: str) -> str:
    words = ("--quiet", "--database", str(database), "--tenant", tenant, "--role", role)
    command: list[str | Path] = [ours("gateways"), "token", "new", *words]
    ran = subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True)
    return ran.stdout.strip()


class ServiceProcess:
    """`gateways serve` on a copy of a database, which is made anew with each start.

    Once started it keeps its port. It is as users run it: its log is written, to a file.
    """

    def __init__(self, database: Path, folder: Path) -> None:
        self.port = 0
        self._template = database
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, after an end if it runs already, and wait until it listens."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._template.parent, self._folder)
        database, log = self._folder / self._template.name, self._folder / "log"
        listen = f"127.0.0.1:{self.port}"
        words = ("--database", str(database), "--listen", listen, "--private-hosts", "allow")
        command: list[str | Path] = [ours("gateways"), "serve", *words]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stderr=file, env=_environ()
            )
        self.port = self._wait(log)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _wait(self, log: Path) -> int:
        assert self._process  # noqa: S101 - it was started above
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            text = log.read_text()
            if "ready" in text and (found := _LISTENING.search(text)):
                return int(found[1])
            if self._process.poll() is not None or time.monotonic() > end:
                raise Failed(f"the service did not start\n{text[-2000:]}")
            time.sleep(0.02)


def _environ() -> dict[str, str]:
    """Nothing of whoever runs this, such as a key of passwords, changes what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAYS_")}
