"""Writes a new sops file for age recipients, for a project's first secrets and for the demo.

What it writes the real sops reads, edits and re-encrypts like a file of its own.
"""

import contextlib
import hashlib
import os
import re
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import pyrage
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reconciler import clock
from reconciler.declarations.sops.cipher import KEY_BYTES
from reconciler.declarations.sops.shape import ANCHORS, HOSTS, NAME, VALUE
from reconciler.errors import WrongUsage
from reconciler.model import Secret

Value = str | Secret | Mapping[str, str | Secret | Sequence[str]]
"""A password, or `{value, hosts, anchors}`."""

_IV_BYTES: Final = 32
_TAG_BYTES: Final = 16
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_NOT_TEXT: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_VERSION: Final = "3.11.0"  # the format's; sops refuses a file without one


def encrypt(
    values: Mapping[str, Value], recipients: Sequence[str], *, now: datetime | None = None
) -> bytes:
    """The text of a sops file. `recipients` are age or SSH public keys; `now` is UTC.

    Raises:
        WrongUsage: no recipient, one that is not a public key, or a name or value that a secrets
            file cannot hold.

    """
    data_key = os.urandom(KEY_BYTES)
    wrapped = [_wrapped(data_key, recipient) for recipient in recipients]
    if not wrapped:
        raise WrongUsage("a secrets file needs at least one recipient", "name an age public key")
    key = AESGCM(data_key)
    digest = hashlib.sha512()
    lines: list[str] = []
    for keys, indent, text in _leaves(values):
        if text is None:
            lines.append(indent)
            continue
        digest.update(text.encode())
        lines.append(f"{indent}{_sealed(key, text, ':'.join(keys) + ':')}")
    at = clock.stamp(now or clock.now())
    mac = _sealed(key, digest.hexdigest().upper(), at)
    block = ["sops:", "    age:", *wrapped, f'    lastmodified: "{at}"', f"    mac: {mac}"]
    block += ["    unencrypted_suffix: _unencrypted", f"    version: {_VERSION}"]
    return ("\n".join([*lines, *block]) + "\n").encode()


def write(path: Path, text: bytes) -> None:
    """Put a file in place whole or not at all, readable by its owner only."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _leaves(values: Mapping[str, Value]) -> Iterator[tuple[list[str], str, str | None]]:
    """Every line as its keys, what stands before the value, and the value if there is one."""
    for name, value in values.items():
        if not NAME.fullmatch(name) or name == "sops":
            raise WrongUsage("a secret's name may hold letters, digits, dots, _ and - only")
        if isinstance(value, str | Secret):
            yield [name], f"{_key(name)}: ", _plain(value)
            continue
        yield [], f"{_key(name)}:", None
        for part in (VALUE, HOSTS, ANCHORS):
            yield from _part(name, part, value.get(part))


def _key(name: str) -> str:
    """In quotes where a YAML reader, of whatever version, could take it for something else."""
    plain = _WORD.fullmatch(name) and name.lower() not in _NOT_TEXT
    return name if plain else f'"{name}"'


def _part(
    name: str, part: str, given: str | Secret | Sequence[str] | None
) -> Iterator[tuple[list[str], str, str | None]]:
    if isinstance(given, str | Secret):
        yield [name, part], f"    {part}: ", _plain(given)
    elif given:
        yield [], f"    {part}:", None
        for text in given:
            yield [name, part], "        - ", _plain(text)


def _plain(value: str | Secret) -> str:
    text = value.reveal() if isinstance(value, Secret) else value
    if not text:
        raise WrongUsage("a secret cannot be empty")
    return text


def _sealed(key: AESGCM, text: str, bound_to: str) -> str:
    iv = os.urandom(_IV_BYTES)
    out = key.encrypt(iv, text.encode(), bound_to.encode())
    data, tag = out[:-_TAG_BYTES], out[-_TAG_BYTES:]
    parts = ",".join(
        f"{name}:{b64encode(raw).decode()}"
        for name, raw in (("data", data), ("iv", iv), ("tag", tag))
    )
    return f"ENC[AES256_GCM,{parts},type:str]"


def _wrapped(data_key: bytes, recipient: str) -> str:
    kind = pyrage.ssh if recipient.startswith("ssh-") else pyrage.x25519
    try:
        public = kind.Recipient.from_str(recipient)
    except (ValueError, pyrage.RecipientError):
        raise WrongUsage("the recipient is not an age public key", "it begins with age1") from None
    armored = pyrage.encrypt(data_key, [public], armored=True).decode()
    body = "\n".join(f"            {line}" for line in armored.strip().splitlines())
    return f"        - recipient: {recipient}\n          enc: |\n{body}"
