"""The server as a child process, for the demo and for load tests that must not share its CPU."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from demo.mailserver.server import Ports
from reconciler.model import EncryptionMode, ProtocolType

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PID_FILE: Final = "mailserver.pid"
PORTS_FILE: Final = "ports.json"
COUNTERS_FILE: Final = "counters.json"
LOADED_FILE: Final = "loaded.sha256"
_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.01


class ServerProcess:
    """A mail server in its own process and session: Ctrl-C does not reach it, `stop` does.

    It also stops when this process ends, however it ends, and after `seconds`.
    """

    def __init__(
        self,
        directory: Path,
        accounts: Mapping[str, str],
        *,
        hosts: Sequence[str] = ("127.0.0.1",),
        seconds: float = 3600,
    ) -> None:
        self.directory = directory
        self._accounts_file = directory / "accounts.json"
        self._hosts = tuple(hosts)
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._write_accounts(accounts)

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def ports(self) -> Ports:
        return parse_ports(json.loads((self.directory / PORTS_FILE).read_text()))

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process else None

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

    def start(self) -> None:
        """Start, after `stop` on the same ports, and wait until it listens."""
        command = [sys.executable, "-m", "demo.mailserver", "--directory", str(self.directory)]
        command += ["--accounts", str(self._accounts_file), "--seconds", str(self._seconds)]
        for host in self._hosts:
            command += ["--host", host]
        self._process = subprocess.Popen(command, cwd=CHECKOUT, start_new_session=True)
        try:
            self._wait_until_it_listens(self._process)
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _START_SECONDS
        while not self._listens():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the mail server did not start")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def change_accounts(self, accounts: Mapping[str, str]) -> None:
        """Give the running server other accounts, and wait until it says that it has these.

        Raises:
            RuntimeError: it does not; a late answer to an earlier change is none to this one.

        """
        self._write_accounts(accounts)
        if self._process is None:
            return
        loaded = self.directory / LOADED_FILE
        loaded.unlink(missing_ok=True)
        wanted = digest_of(self._accounts_file.read_bytes())
        os.kill(self._process.pid, signal.SIGHUP)
        until = time.monotonic() + _START_SECONDS
        while not loaded.exists() or loaded.read_text() != wanted:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the mail server did not take the accounts")
            time.sleep(_POLL_SECONDS)

    def counters(self) -> dict[str, int]:
        """What the running server has counted up to now: the fields of `Counters`."""
        if self._process is None:
            raise RuntimeError("the mail server does not run")
        file = self.directory / COUNTERS_FILE
        file.unlink(missing_ok=True)
        os.kill(self._process.pid, signal.SIGUSR1)
        until = time.monotonic() + _START_SECONDS
        while not file.exists() and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return dict(json.loads(file.read_text()))

    def _listens(self) -> bool:
        try:
            text = (self.directory / PID_FILE).read_text()
        except FileNotFoundError:
            return False
        return self._process is not None and text == str(self._process.pid)

    def _write_accounts(self, accounts: Mapping[str, str]) -> None:
        draft = self._accounts_file.with_suffix(".tmp")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(dict(accounts)))
        draft.replace(self._accounts_file)


def digest_of(accounts: bytes) -> str:
    """What the server writes once it goes by these accounts."""
    return hashlib.sha256(accounts).hexdigest()


def parse_ports(text: Mapping[str, Mapping[str, int]]) -> Ports:
    """The ports of a `ports.json`."""
    return {
        (ProtocolType(protocol), EncryptionMode(mode)): port
        for protocol, modes in text.items()
        for mode, port in modes.items()
    }


def format_ports(ports: Ports) -> dict[str, dict[str, int]]:
    """The text of a `ports.json`: protocol to encryption to port."""
    text: dict[str, dict[str, int]] = {}
    for (protocol, mode), port in ports.items():
        text.setdefault(protocol, {})[mode] = port
    return text
