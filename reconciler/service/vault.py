"""Passwords at rest: AES-256-GCM, each bound to the row it was made for.

The key lies beside the database, or where GATEWAYS_KEY_FILE says, and is read only when a password
is written or used. It protects a stolen database or backup; it does not protect from who can read
the key as well.
"""

import base64
import binascii
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import PlatformUnavailable, Sealed
from reconciler.model import PASSWORD_FIELD, Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_VARIABLE: Final = "GATEWAYS_KEY_FILE"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_VERSION: Final = b"\x01"
_MAKE_KEY: Final = "make one with: openssl rand -base64 32"


@dataclass(frozen=True, slots=True)
class Binding:
    """Whose password it is: sealed for one, it opens for no other.

    A webhook's secret is sealed likewise, for the webhook and its URL.
    """

    tenant: str
    gateway: str
    host: str
    field: str = PASSWORD_FIELD

    def encoded(self) -> bytes:
        return _joined(self.tenant, self.gateway, self.host, self.field)


class Vault:
    """Seals and opens passwords. Nothing is read or made before `unlock`.

    Raises:
        PlatformUnavailable: the database is a folder without a name, such as `.` or `/`.

    """

    def __init__(self, database: Path, environ: Mapping[str, str]) -> None:
        named = environ.get(KEY_VARIABLE)
        if not database.name:
            raise PlatformUnavailable(f"{database} is not a file", "name another database")
        self.path = Path(named) if named else database.with_name(database.name + ".key")
        self._may_make = not named
        self._key = b""
        self._cipher: AESGCM | None = None

    def unlock(self, key_check: str | None) -> str:
        """Read the key and return its check value; make a key only where none was ever used.

        A key that is not the right one is read again the next time: it may have been put right.

        Raises:
            Sealed: there is no key, it is not the one of `key_check`, or others can read it.

        """
        if not self._key:
            self._key = self._load(make=self._may_make and key_check is None)
            self._cipher = None
        found = self._derived("key check").hex()[:16]
        if key_check is not None and not hmac.compare_digest(found, key_check):
            self._key = b""
            raise Sealed(
                f"key {self.path}: it is not the key of this database",
                f"put the right key there, or name its file in {KEY_VARIABLE}",
            )
        return found

    def seal(self, password: Secret, binding: Binding) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = password.reveal().encode()
        return (
            _VERSION + nonce + self._aes_gcm().encrypt(nonce, plain, _VERSION + binding.encoded())
        )

    def open(self, sealed: bytes, binding: Binding) -> Secret:
        """Raises PlatformUnavailable if it was sealed for another gateway or host, or altered."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - reading needs none of it

        version, nonce, rest = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            plain = self._aes_gcm().decrypt(nonce, rest, version + binding.encoded())
        except (InvalidTag, ValueError) as error:
            raise PlatformUnavailable(
                f"the stored password of gateway {binding.gateway!r} was not stored for it "
                f"with host {binding.host!r}, or was altered",
                "the database was changed by hand; apply the gateway's declaration again, or "
                "restore a backup",
            ) from error
        return Secret(plain.decode())

    def credential(self, host: str, user: str | None, password: Secret) -> str:
        """A keyed digest that tells one login from another, to count refusals by."""
        message = _joined(host, user or "", password.reveal())
        return hmac.digest(self._derived("credentials"), message, "sha256").hex()

    def _derived(self, purpose: str) -> bytes:
        if not self._key:
            raise Sealed(f"key {self.path}: it was not read", f"put it there: {self.path}")
        return hmac.digest(self._key, b"gateways " + purpose.encode(), "sha256")

    def _aes_gcm(self) -> "AESGCM":
        if self._cipher is None:
            from cryptography.hazmat.primitives.ciphers.aead import (  # noqa: PLC0415 - as above
                AESGCM,
            )

            self._cipher = AESGCM(self._derived("passwords"))
        return self._cipher

    def _load(self, *, make: bool) -> bytes:
        try:
            if make and not self.path.exists():
                _make_key(self.path)
            mode = self.path.stat().st_mode
            text = self.path.read_bytes()
        except FileNotFoundError as error:
            raise Sealed(
                f"key {self.path}: there is no such file, and passwords need it",
                f"put the database's key back there, or name its file in {KEY_VARIABLE}; "
                f"for a database that has none yet, {_MAKE_KEY}",
            ) from error
        except OSError as error:
            raise Sealed(
                f"key {self.path}: {error.strerror}", "let this user read the file"
            ) from error
        if mode & stat.S_IRWXO:
            raise Sealed(
                f"key {self.path}: everybody on this machine may use it",
                f"take that away with: chmod o= {self.path}",
            )
        return _decoded(text, self.path)


def _decoded(text: bytes, path: Path) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise Sealed(f"key {path}: it does not hold {_KEY_BYTES} bytes in base64", _MAKE_KEY)
    return key


def _make_key(path: Path) -> None:
    """Whole and on disk before it has its name; never over a key that is there."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            return  # another process was first: its key is the key
        _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _joined(*parts: str) -> bytes:
    """Lengths first, so that nothing can shift from one part into the next."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
