"""A throw-away project whose gateways live on a real mail server, and the command line on it."""

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from pyrage import x25519

from demo.mailserver.process import ServerProcess
from reconciler import schemas
from reconciler.declarations.sops.writer import encrypt
from reconciler.model import EncryptionMode, ProtocolType
from tests.declarations.sops_support import real_sops

CANARY = "Canary-7f3a91-Passwort"
SECRETS_FILE = "gateways.d/secrets/main.sops.yaml"
USERS = ("one@example.test", "two@example.test")


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def json(self, schema: str) -> Any:
        """The result as JSON, which must fit the published schema."""
        data = json.loads(self.out)
        Draft202012Validator(schemas.load(schema)).validate(data)
        return data

    def events(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.out.splitlines()]
        validator = Draft202012Validator(schemas.load("events"))
        for line in lines:
            validator.validate(line)
        return lines


@dataclass
class World:
    """A project in `root`. `passwords` are those of the secrets file, by name."""

    root: Path
    server: ServerProcess
    settings: dict[str, Any] = field(default_factory=dict)
    passwords: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        identity = x25519.Identity.generate()
        self._recipient = str(identity.to_public())
        home = self.root.parent / "home"
        home.mkdir()
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "SOPS_AGE_KEY": str(identity),
            "GATEWAYS_ACTOR": "tester",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self.settings = {
            "owner": "acme",
            "targets": {"local": {"platform": "embedded"}},
        }
        self.passwords = {"one": CANARY, "two": CANARY + "-2"}
        (self.root / "gateways.d/certs").mkdir(parents=True)
        (self.root / "gateways.d/secrets").mkdir()
        (self.root / "gateways.d/certs/root.pem").write_bytes(self.server.ca_file.read_bytes())
        self.write_settings()
        self.write_secrets()

    def write_settings(self) -> None:
        (self.root / "gateways.yaml").write_text(yaml.safe_dump(self.settings))

    def write_secrets(self, **more: Any) -> None:
        values = {"fingerprint_key": "k" * 40, **self.passwords, **more}
        file = self.root / SECRETS_FILE
        file.write_bytes(encrypt(values, [self._recipient]))

    def gateway(self, user: int = 1, **fields: Any) -> dict[str, Any]:
        """The fields of a gateway that connects: on IMAP with TLS unless told otherwise."""
        protocol = ProtocolType(fields.get("protocol_type", "IMAP"))
        mode = EncryptionMode(fields.get("encryption_mode", "TLS"))
        given: dict[str, Any] = {
            "protocol_type": protocol.value,
            "host": "localhost",
            "port": self.server.ports[protocol, mode],
            "user_id": USERS[user - 1],
            "user_password": {"secret": ("one", "two")[user - 1]},
            "certificate_file": "certs/root.pem",
        }
        if protocol is ProtocolType.SMTP:
            given["default_email_address"] = USERS[user - 1]
        return {**given, **fields}

    def declare(self, gateways: Mapping[str, Any], file: str = "mail.yaml") -> None:
        text = yaml.safe_dump({"gateways": dict(gateways)}, sort_keys=False)
        (self.root / "gateways.d" / file).write_text(text)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "reconciler", *arguments]

    def run(self, *arguments: str, **environ: str) -> Ran:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=100,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        assert CANARY not in done.stdout + done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def on_terminal(self, *arguments: str, answer: str | None) -> tuple[int, str]:
        """Run on a terminal of its own; at the question answer, or press Ctrl-C for None."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.root)
            os.execve(sys.executable, self.command(*arguments), self.environ)  # noqa: S606
        shown = b""
        while b"[y/N]:" not in shown:
            shown += os.read(terminal, 1024)
        pressed = answer.encode() if answer else b"\x03"
        os.write(terminal, pressed)
        with contextlib.suppress(OSError):  # how a terminal says that the program has ended
            while True:
                if answer is None and not select.select([terminal], [], [], 2)[0]:
                    os.write(terminal, pressed)  # the first came before the answer was read
                    continue
                more = os.read(terminal, 1024)
                if not more:
                    break
                shown += more
        os.close(terminal)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), shown.decode()

    def git(self, *arguments: str) -> str:
        """What git says in the project; who commits is of no machine."""
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.test")
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=self.root,
            env=self.environ,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def set_secret(self, name: str, value: str) -> None:
        """Another value in the secrets file, as people do it: by the real sops."""
        subprocess.run(
            [real_sops(), "set", SECRETS_FILE, f'["{name}"]', f'"{value}"'],
            cwd=self.root,
            env={**self.environ, "SOPS_DISABLE_VERSION_CHECK": "1"},
            check=True,
        )

    def apply(self, *arguments: str) -> Ran:
        return self.run("apply", "--yes", *arguments)

    def changes(self) -> list[tuple[str, str, str]]:
        """What a plan proposes now: gateway, action, status."""
        plan = self.run("plan", "--format", "json").json("plan")
        return [(one["gateway"], one["action"], one["status"]) for one in plan["changes"]]
