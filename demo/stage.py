"""The stage: a copy of the repository's declarations, a mail server, an age key and sops secrets.

Only scenery is made here. Whatever the story shows is done by the real `gateways` and `sops`.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import yaml
from pyrage import x25519

from demo.mailserver.process import CHECKOUT, ServerProcess
from reconciler.model import EncryptionMode, ProtocolType

HOST: Final = "localhost"
KEY_FILE: Final = "SOPS_AGE_KEY_FILE"
"""The variable that says where the key is."""

SECRETS_FILE: Final = Path("gateways.d/secrets/main.sops.yaml")
_LIMIT_SECONDS: Final = 900
_SOPS_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """What the story needs to know of a declared gateway to play the mail server for it."""

    name: str
    file: Path
    protocol: ProtocolType
    mode: EncryptionMode
    user: str | None
    secret: str | None


class Stage:
    """A temporary project in `folder`; `environ` is what every command of the story runs in."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.environ = _environment(environ, folder / "age-key.txt")
        self.project.mkdir()
        self._copy()
        self._git("init", "--quiet", "--initial-branch=main")
        self.commit("The declarations as they are in the repository")
        self.samples = tuple(self._read())
        self.passwords = {
            sample.secret: secrets.token_urlsafe(12) for sample in self.samples if sample.secret
        }
        self.server = ServerProcess(folder / "mail", self._accounts(), seconds=_LIMIT_SECONDS)

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def sample(self, name: str) -> Sample:
        return next(sample for sample in self.samples if sample.name == name)

    def _copy(self) -> None:
        shutil.copy(CHECKOUT / "gateways.yaml", self.project)
        ignored = shutil.ignore_patterns("*.sops.yaml", ".*")
        shutil.copytree(CHECKOUT / "gateways.d", self.project / "gateways.d", ignore=ignored)
        shutil.copytree(CHECKOUT / "schema", self.project / "schema")
        (self.project / ".gitignore").write_text(".gateways/\n*.plan\n")

    def _read(self) -> Iterator[Sample]:
        settings = yaml.safe_load((self.project / "gateways.yaml").read_text())
        target = settings["targets"][settings["default_target"]]
        variables: Mapping[str, str] = target.get("variables", {})
        for file in self.files():
            document = yaml.safe_load(_rendered(file.read_text(), variables))
            for name, own in document["gateways"].items():
                fields: dict[str, Any] = document.get("defaults", {}) | (own or {})
                yield Sample(
                    name,
                    file,
                    ProtocolType(fields["protocol_type"]),
                    EncryptionMode(fields.get("encryption_mode") or EncryptionMode.TLS),
                    fields.get("user_id"),
                    (fields.get("user_password") or {}).get("secret"),
                )

    def files(self) -> list[Path]:
        return sorted((self.project / "gateways.d").glob("*.y*ml"))

    def move_to_local_server(self) -> str:
        """Point the copies at the mail server of the story; the difference, as git shows it."""
        ports = self.server.ports
        for sample in self.samples:
            line = f"    port: {ports[sample.protocol, sample.mode]}"
            self._edit(sample, lambda block, line=line: _with_port(block, line))
        for file in self.files():
            text = re.sub(r"(?m)^( +host:) \S.*$", rf"\1 {HOST}", file.read_text())
            file.write_text(text)
        for certificate in (self.project / "gateways.d/certs").glob("*.pem"):
            shutil.copy(self.server.ca_file, certificate)
        return self.difference()

    def make_secrets(self) -> None:
        """A fresh age key outside the project, and the secrets, encrypted to it by sops."""
        identity = x25519.Identity.generate()
        key_file = Path(self.environ[KEY_FILE])
        key_file.touch(mode=0o600)
        key_file.write_text(f"{identity}\n")
        rule = {
            "path_regex": r"gateways\.d/secrets/.*\.sops\.yaml$",
            "age": str(identity.to_public()),
        }
        (self.project / ".sops.yaml").write_text(yaml.safe_dump({"creation_rules": [rule]}))
        plain: dict[str, Any] = {"fingerprint_key": secrets.token_hex(32)}
        for name in sorted(self.passwords):
            plain[name] = self._bound(name)
        encrypted = self._sops(
            "encrypt",
            "--filename-override",
            str(SECRETS_FILE),
            "/dev/stdin",
            given=yaml.safe_dump(plain),
        )
        (self.project / SECRETS_FILE).parent.mkdir(exist_ok=True)
        (self.project / SECRETS_FILE).write_text(encrypted)

    def _bound(self, secret: str) -> str | dict[str, Any]:
        """A secret that may only be sent to its host; one that travels in clear cannot be bound."""
        clear = any(
            sample.secret == secret and sample.mode is EncryptionMode.NONE
            for sample in self.samples
        )
        password = self.passwords[secret]
        return password if clear else {"value": password, "hosts": [HOST]}

    def rotate_at_server(self, secret: str) -> None:
        self.passwords[secret] = secrets.token_urlsafe(12)
        self.server.change_accounts(self._accounts())

    def rotate_in_sops(self, secret: str) -> list[str]:
        """Put the password into the secrets file; the sops command, as a user would type it.

        sops writes in place and not by rename, so it is given a copy, which is then renamed.
        """
        bound = self._bound(secret)
        path = f'["{secret}"]' + ("" if isinstance(bound, str) else '["value"]')
        file = self.project / SECRETS_FILE
        draft = file.with_name("draft." + file.name)
        shutil.copy(file, draft)
        given = json.dumps(self.passwords[secret])
        self._sops("set", "--value-stdin", str(draft.relative_to(self.project)), path, given=given)
        draft.replace(file)
        return ["sops", "set", "--value-stdin", str(SECRETS_FILE), path]

    def remove(self, name: str) -> None:
        """Take a gateway's block out of its file."""
        self._edit(self.sample(name), lambda _: None)

    def add_line(self, name: str, line: str) -> None:
        """Add a field to a gateway's block."""
        self._edit(self.sample(name), lambda block: [*block, f"    {line}"])

    def restore(self) -> None:
        """The declarations as they were committed last."""
        self._git("checkout", "--quiet", "--", "gateways.d")

    def commit(self, message: str) -> None:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)

    def difference(self) -> str:
        """What differs from the last commit, as git shows it, without places and hashes."""
        shown = self._git("diff", "--unified=0", "--no-color", "--", ":(glob)gateways.d/*.y*ml")
        noise = ("diff ", "index ", "--- ", "@@ ")
        return "\n".join(
            line.replace("+++ b/", "") for line in shown.splitlines() if not line.startswith(noise)
        )

    def _edit(self, sample: Sample, change: Any) -> None:
        lines = sample.file.read_text().splitlines()
        first = next(at for at, line in enumerate(lines) if line.startswith(f"  {sample.name}:"))
        last = first + 1
        while last < len(lines) and (lines[last].startswith("    ") or not lines[last].strip()):
            last += 1
        while not lines[last - 1].strip():
            last -= 1
        block = change(lines[first:last])
        lines[first:last] = block or []
        sample.file.write_text("\n".join(lines) + "\n")

    def _accounts(self) -> dict[str, str]:
        return {
            sample.user: self.passwords[sample.secret]
            for sample in self.samples
            if sample.user and sample.secret
        }

    def _sops(self, *words: str, given: str) -> str:
        program = shutil.which("sops", path=self.environ["PATH"])
        if program is None:
            raise RuntimeError("sops is not installed: the demo encrypts its secrets with it")
        return self._call([program, *words], given)

    def _git(self, *words: str) -> str:
        identity = ["-c", "user.name=Demo", "-c", "user.email=demo@example.com"]
        return self._call(["git", *identity, "-c", "commit.gpgsign=false", *words], "")

    def _call(self, command: list[str], given: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.project,
            env=self.environ,
            input=given,
            capture_output=True,
            encoding="utf-8",
            timeout=_SOPS_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
        return done.stdout


def _environment(environ: Mapping[str, str], key_file: Path) -> dict[str, str]:
    """The user's environment, without what would steer sops, git or gateways elsewhere."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("SOPS_", "GIT_", "GATEWAYS_"))
    }
    programs = str(Path(sys.executable).parent)
    return kept | {
        "PATH": os.pathsep.join([programs, environ.get("PATH", os.defpath)]),
        "TMPDIR": str(key_file.parent),
        KEY_FILE: str(key_file),
        "SOPS_DISABLE_VERSION_CHECK": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }


def _rendered(text: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        text = re.sub(rf"{{{{\s*{name}\s*}}}}", value, text)
    return text


def _with_port(block: list[str], line: str) -> list[str]:
    """The lines of a gateway's block with this port, in the place of the one that it has."""
    if not any(one.startswith("    port:") for one in block):
        return [*block, line]
    return [line if one.startswith("    port:") else one for one in block]
