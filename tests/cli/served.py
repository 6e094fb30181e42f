"""The real `gateways serve` as a process of its own, and a caller of its API."""

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reconciler.clock import now
from reconciler.model import DesiredGateway
from reconciler.service.access import Role, Tokens
from reconciler.service.database import open_writable
from reconciler.service.upgrade import transaction
from reconciler.wire import actor_data, desired_data
from tests.service.fleet import ACTOR, PASSWORD

SECONDS = 60.0
CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A running service. `lines` is what it has said so far."""

    def __init__(self, database: Path, process: subprocess.Popen[bytes]) -> None:
        self.database = database
        self.process = process
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line.decode().rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def wait_for(self, pattern: str, seconds: float = SECONDS) -> re.Match[str]:
        """The first line that has the pattern, now or soon."""
        end = time.monotonic() + seconds
        with self._said:
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                left = end - time.monotonic()
                assert left > 0, f"never said {pattern!r}: {self.lines}"
                assert self._reading.is_alive(), f"ended without {pattern!r}: {self.lines}"
                self._said.wait(min(left, 0.2))

    @property
    def url(self) -> str:
        return self.wait_for(r"listening on (https?://\S+?)\"?[,}]?$")[1].rstrip('"')

    def token(self, role: str = "apply", tenant: str = "acme") -> str:
        """Made beside the running service, as `token new` does."""
        with closing(open_writable(self.database)) as connection, transaction(connection):
            made = Tokens(connection, now).make(tenant, Role(role), origin=self.url, days=1)
            return made.text().reveal()

    def ask(  # noqa: PLR0913 - as HTTP has it
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        seconds: float = SECONDS,
        tls: ssl.SSLContext | None = None,
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own. Underscores in names of headers are hyphens."""
        to = urlsplit(self.url)
        assert to.hostname
        assert to.port
        if to.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                to.hostname, to.port, timeout=seconds, context=tls
            )
        else:
            connection = http.client.HTTPConnection(to.hostname, to.port, timeout=seconds)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        with closing(connection):
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers.items()), response.read())

    def create(self, token: str, desired: DesiredGateway) -> Answer:
        """Ask for a gateway of this name; its name is the write's key too."""
        name = desired.gateway.name
        return self.ask(
            "PUT",
            f"/v1/gateways/{name}",
            {**desired_data(desired), "owner": "ours", "actor": actor_data(ACTOR)},
            token=token,
            If_None_Match="*",
            Idempotency_Key=name,
        )

    def names(self, token: str) -> list[str]:
        """Every gateway that the API shows."""
        found, cursor = [], ""
        while True:
            page = self.ask("GET", f"/v1/gateways?limit=500{cursor}", token=token).json()
            found += [one["gateway"]["name"] for one in page["gateways"]]
            if not page["next"]:
                return found
            cursor = f"&cursor={page['next']}"

    def end(self, how: signal.Signals = signal.SIGTERM, seconds: float = SECONDS) -> int:
        """Send a signal and wait; the exit code, negative where a signal has ended it."""
        self.process.send_signal(how)
        return self.ended(seconds)

    def ended(self, seconds: float = SECONDS) -> int:
        code = self.process.wait(seconds)
        self._reading.join(seconds)
        return code


def serve_command(database: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "reconciler", "serve", "--database", str(database)]
    if "--listen" not in options:
        command += ["--listen", "127.0.0.1:0"]
    return [*command, *options]


@contextmanager
def served(
    database: Path,
    *options: str,
    prefix: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
    ready: bool = True,
) -> Iterator[Served]:
    """Start it, and wait until it is ready unless told otherwise; killed at the end if need be."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **(environ or {})}
    process = subprocess.Popen(
        [*prefix, *serve_command(database, *options)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    running = Served(database, process)
    try:
        if ready:
            running.wait_for(r"\bready\b")
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        running.ended()
        assert process.stderr is not None
        process.stderr.close()
        said = "\n".join(running.lines)
        assert "Traceback" not in said
        assert PASSWORD not in said
