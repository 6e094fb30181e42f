"""The values of a sops file: AES-256-GCM, each bound to its keys, and the MAC over all of them."""

import hashlib
import hmac
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reconciler.declarations.sops.document import Kind, Leaf, SopsDocument
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.rules import encrypts
from reconciler.declarations.sops.scalars import Scalar, float_text, hashed, resolve

_BASE64 = r"([A-Za-z0-9+/]+={0,2})"
_SEALED = re.compile(
    rf"ENC\[AES256_GCM,data:{_BASE64},iv:{_BASE64},tag:{_BASE64},type:([a-z0-9]+)\]"
)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_AGAIN: Final = "undo the edit or the merge, and make it again with sops"
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, repr=False)
class Opened:
    """One decrypted leaf; `clear` says that it stood in the file unencrypted.

    The value is bare and has no repr: the caller wraps it as a secret at once.
    """

    leaf: Leaf
    value: Scalar
    clear: bool


def open_document(document: SopsDocument, data_key: bytes) -> list[Opened]:
    """Decrypt every leaf and verify the MAC over all of them.

    Raises:
        SopsError: ALTERED with the place of the first leaf that does not decrypt; TAMPERED where
            the MAC does not fit; UNSUPPORTED for what only the real sops can judge.

    """
    stamp = document.block_text("lastmodified")
    if not _TIMESTAMP.fullmatch(stamp) or not _VERSION.fullmatch(document.block_text("version")):
        raise SopsError(Reason.TAMPERED, "the sops block has no valid lastmodified or version")
    if len(data_key) != KEY_BYTES:
        raise SopsError(Reason.TAMPERED, "the file's data key has a wrong length")
    key = AESGCM(data_key)
    wants = encrypts(document)
    digest = hashlib.sha512()
    opened = []
    for leaf in document.leaves:
        keys = leaf.keys
        if wants(keys):
            value, raw = _decrypted(leaf, key, ":".join(keys) + ":")
            clear = not raw
        else:
            value = leaf.text if leaf.kind is Kind.QUOTED else resolve(leaf.text)
            raw, clear = hashed(value), True
        digest.update(raw)
        opened.append(Opened(leaf, value, clear))
    _verify(key, document.block_text("mac"), stamp, digest.hexdigest().upper())
    return opened


def _decrypted(leaf: Leaf, key: AESGCM, bound_to: str) -> tuple[Scalar, bytes]:
    """The value and what the MAC hashes of it. Null and "" are never encrypted by sops."""
    match = _SEALED.fullmatch(leaf.text)
    if match is None:
        if leaf.text == "" or (leaf.kind is Kind.PLAIN and resolve(leaf.text) is None):
            return (None if leaf.kind is Kind.PLAIN else ""), b""
        _refuse(leaf, Reason.NOT_ENCRYPTED, "stands there unencrypted")
    data, iv, tag, kind = match.groups()
    try:
        raw = key.decrypt(a2b_base64(iv), a2b_base64(data) + a2b_base64(tag), bound_to.encode())
        return _typed(kind, raw)
    except UnicodeDecodeError:
        _refuse(leaf, Reason.UNSUPPORTED, "is not UTF-8 text")
    except (InvalidTag, Base64Error, ValueError):
        _refuse(leaf, Reason.ALTERED, "was altered, or moved from another key or file", _AGAIN)


def _typed(kind: str, raw: bytes) -> tuple[Scalar, bytes]:
    """Raise ValueError where sops would not take `raw` for a value of that type."""
    text = raw.decode()
    if kind == "str" or (kind == "time" and _TIME.fullmatch(text)):
        return text, raw
    if kind == "int" and _INTEGER.fullmatch(text):
        return int(text), str(int(text)).encode()
    if kind == "float":
        return float(text), float_text(float(text)).encode()
    if kind == "bool" and text in _BOOLEANS:
        return _BOOLEANS[text], hashed(_BOOLEANS[text])
    raise ValueError


def _verify(key: AESGCM, sealed: str, stamp: str, computed: str) -> None:
    match = _SEALED.fullmatch(sealed)
    if match is None or match[4] != "str":
        raise SopsError(Reason.TAMPERED, "the file has no MAC: it cannot be told from a forgery")
    data, iv, tag, _kind = match.groups()
    try:
        mac = key.decrypt(a2b_base64(iv), a2b_base64(data) + a2b_base64(tag), stamp.encode())
    except (InvalidTag, Base64Error, ValueError):
        mac = b""
    if not hmac.compare_digest(mac, computed.encode()):
        raise SopsError(
            Reason.TAMPERED,
            "the file was changed without its key (MAC mismatch)",
            _AGAIN,
        )


def _refuse(leaf: Leaf, reason: Reason, words: str, hint: str = "") -> NoReturn:
    path = ".".join(map(str, leaf.path))
    message = f"the value of {path} {words}"
    raise SopsError(reason, message, hint, line=leaf.line, column=leaf.column)
