"""Makes a project of N gateways in N files: `python -m bench.generate FOLDER N [options]`.

Every rule of the schema and of the code has its say, and none has anything to say: what is
measured is judging, not wording. The same N gives the same gateways; keys are new each time.
"""

import argparse
import base64
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyrage import x25519

from bench.accounts import password, user
from demo.certificates import Authority
from reconciler import schemas
from reconciler.declarations.sops.writer import encrypt

SETTINGS: Final = "owner: bench\ntargets:\n  local: {platform: embedded}\n"
CERTIFICATE: Final = Path("gateways.d/certs/root.pem")
SECRETS: Final = Path("gateways.d/secrets")
KEY_FILE: Final = "age-key.txt"
"""Beside the project's folder, as a key is never in it."""

PORTS: Final = {"SMTP": 465, "IMAP": 993, "POP3": 995}
LABELLED_ONE_IN: Final = 10
HOSTS: Final = 40


@dataclass(frozen=True, slots=True)
class Shape:
    """What kind of project: `logins` are IMAP gateways that all log in at one host and port."""

    count: int
    secrets_per_file: int = 100
    logins: tuple[str, int] | None = None
    certificate: Path | None = None


def make(folder: Path, shape: Shape) -> None:
    """Write the project; `folder` is made, and the age key is put beside it."""
    (folder / SECRETS).mkdir(parents=True)
    (folder / CERTIFICATE).parent.mkdir(parents=True)
    if shape.certificate:
        shutil.copyfile(shape.certificate, folder / CERTIFICATE)
    else:
        (folder / CERTIFICATE).write_bytes(Authority("Bench Root").pem)
    (folder / "gateways.yaml").write_text(SETTINGS)
    (folder / "gateways.schema.json").write_text(schemas.text("gateways"))
    for number in range(shape.count):
        text = declaration(number, shape.logins)
        (folder / f"gateways.d/gateway-{number:06}.yaml").write_text(text)
    write_secrets(folder, shape)


def declaration(number: int, logins: tuple[str, int] | None = None) -> str:
    """One file with one gateway: fourteen fields, and in one file of ten a label."""
    lines = ["gateways:", f"  gateway-{number:06}:"]
    lines += [f"    {key}: {value}" for key, value in _fields(number, logins)]
    return "\n".join(lines) + "\n"


def _fields(number: int, logins: tuple[str, int] | None) -> Iterator[tuple[str, str | int]]:
    protocol = "IMAP" if logins else ("SMTP", "IMAP", "SMTP", "POP3")[number % 4]
    host, port = logins or (f"mail-{number % HOSTS:02}.example.com", PORTS[protocol])
    yield "protocol_type", protocol
    yield "host", host
    yield "port", port
    yield "user_id", user(number)
    yield "user_password", f"{{secret: mailbox_{number:06}}}"
    yield "authentication_flag", "true"
    yield "encoding_mode", "UTF-8"
    yield "encryption_mode", "TLS"
    yield "certificate_file", "certs/root.pem"
    yield "state", "connected"
    yield "when_failed", "rebuild"
    yield "protect", "false"
    if protocol == "SMTP":
        yield "default_email_address", user(number)
        yield "default_user_name", f"Example Support {number}"
    else:
        yield "receive_from", "now"
        yield "case_sensitivity", "false"
    if number % LABELLED_ONE_IN == 0:
        yield "labels", f"{{team: team-{number % 7}}}"


def write_secrets(folder: Path, shape: Shape) -> None:
    """The passwords, `secrets_per_file` in each sops file, all for one fresh age key."""
    identity = x25519.Identity.generate()
    key_file = folder.parent / KEY_FILE
    key_file.touch(mode=0o600)
    key_file.write_text(f"{identity}\n")
    recipients = [str(identity.to_public())]
    for first in range(0, shape.count, shape.secrets_per_file):
        numbers = range(first, min(first + shape.secrets_per_file, shape.count))
        values = {f"mailbox_{number:06}": password(number) for number in numbers}
        path = folder / SECRETS / f"mailboxes-{first:06}.sops.yaml"
        path.write_bytes(encrypt(values, recipients))
    fingerprint_key = base64.b64encode(os.urandom(32)).decode()
    text = encrypt({"fingerprint_key": fingerprint_key}, recipients)
    (folder / SECRETS / "main.sops.yaml").write_bytes(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--secrets-per-file", type=int, default=100)
    parser.add_argument("--host", help="one host for all, which are IMAP gateways then")
    parser.add_argument("--port", type=int, default=993)
    parser.add_argument("--certificate", type=Path, help="the trust anchor of all")
    asked = parser.parse_args()
    logins = (asked.host, asked.port) if asked.host else None
    shape = Shape(asked.count, asked.secrets_per_file, logins, asked.certificate)
    make(asked.folder, shape)


if __name__ == "__main__":
    main()
