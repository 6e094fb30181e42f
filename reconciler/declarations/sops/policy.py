"""May this file be decrypted here at all? Judged on the `sops:` block before anything is contacted.

The block is written by whoever edits the file, and sops would carry the job's Vault token or cloud
credentials to the address that stands in it. So every key service must be named by the target.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.declarations.sops.document import Kind, Leaf, SopsDocument
from reconciler.declarations.sops.errors import Reason, SopsError

LOCAL: Final = frozenset({"age", "pgp"})
SERVICES: Final = frozenset({"kms", "gcp_kms", "azure_kv", "hc_vault", "hckms"})
_ADDRESSES: Final = {
    "kms": ("arn", "role", "aws_profile"),
    "gcp_kms": ("resource_id",),
    "azure_kv": ("vault_url",),
    "hc_vault": ("vault_address",),
    "hckms": ("key_id",),
}
_URLS: Final = frozenset({"azure_kv", "hc_vault"})
_URL = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_TRANSIT = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_:/.@+=,-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Service:
    """One address that decrypting would carry credentials to; `leaf` is where it stands."""

    kind: str
    address: str
    leaf: Leaf
    well_formed: bool

    def allowed(self, named: Sequence[str]) -> bool:
        return self.well_formed and any(_fits(self, name) for name in named)


def services(document: SopsDocument) -> list[Service]:
    """All key services of a block, those of its key groups too, in the file's order."""
    found = _entries(document).items()
    return [service for path, fields in found for service in _of_entry(path, fields)]


def check(document: SopsDocument, named: Sequence[str]) -> None:
    """Refuse a file that holds a key service that `named` does not name.

    Raises:
        SopsError: FOREIGN_SERVICE with its place; UNSUPPORTED for mac_only_encrypted.

    """
    for service in services(document):
        if not service.allowed(named):
            raise foreign(service)
    if document.block_text("mac_only_encrypted") not in ("", "false"):
        raise SopsError(
            Reason.UNSUPPORTED,
            "the file is sealed with mac_only_encrypted, which leaves what is in clear unprotected",
            "take mac_only_encrypted out of .sops.yaml, decrypt the file and encrypt it again",
        )


def foreign(service: Service) -> SopsError:
    shown = service.address if _PLAIN.fullmatch(service.address) else "an odd address"
    return SopsError(
        Reason.FOREIGN_SERVICE,
        f"the file's key service is not one that the target names: {service.kind} {shown}",
        "if it is meant, add it to sops_key_services of the target; nothing was contacted",
        line=service.leaf.line,
        column=service.leaf.column,
    )


def _entries(document: SopsDocument) -> dict[tuple[str | int, ...], dict[str, Leaf]]:
    """The scalar fields of each entry of each list of keys in the block, by the entry's path."""
    entries: dict[tuple[str | int, ...], dict[str, Leaf]] = {}
    for leaf in document.block:
        if leaf.kind in (Kind.EMPTY_LIST, Kind.EMPTY_MAP) or len(leaf.path) == 2:  # noqa: PLR2004  # a setting
            continue
        start = 3 if leaf.path[1] == "key_groups" else 1
        entry = entries.setdefault(leaf.path[: start + 2], {})
        entry[".".join(map(str, leaf.path[start + 2 :]))] = leaf
    return entries


def _of_entry(path: tuple[str | int, ...], fields: dict[str, Leaf]) -> Iterator[Service]:
    kind = str(path[-2] if len(path) > 2 else path[-1])  # noqa: PLR2004
    anywhere = next(iter(fields.values()))
    if kind in LOCAL:
        return
    if kind not in SERVICES or _ADDRESSES[kind][0] not in fields or _steered(kind, fields):
        yield Service(kind, "", anywhere, well_formed=False)
        return
    for name in _ADDRESSES[kind]:
        leaf = fields.get(name)
        if leaf and (leaf.text or name == _ADDRESSES[kind][0]):
            yield _service(kind, leaf)


def _service(kind: str, leaf: Leaf) -> Service:
    address = leaf.text
    if kind in _URLS:
        address = address.lower().removesuffix("/")
        return Service(kind, address, leaf, bool(_URL.fullmatch(address)))
    return Service(kind, address, leaf, bool(_PLAIN.fullmatch(address)))


def _steered(kind: str, fields: dict[str, Leaf]) -> bool:
    """Whether parts of the entry would bend the path of the URL that the token is sent to."""
    parts = ("engine_path", "key_name") if kind == "hc_vault" else ()
    return not all(name in fields and _TRANSIT.fullmatch(fields[name].text) for name in parts)


def _fits(service: Service, name: str) -> bool:
    """Exact; a `*` after `/` or `:` at the end of a name stands for the rest of a key's path.

    Never for a part of a host: an address that is a URL must be named whole.
    """
    if service.kind in _URLS:
        return service.address == name.lower().removesuffix("/")
    if name.endswith(("/*", ":*")):
        return service.address.startswith(name[:-1])
    return service.address == name
