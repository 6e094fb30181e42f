"""What a secrets file shows of its values without a key: enough to tell whether one was changed.

sops encrypts a value anew only where the value is another: `sops set` and `sops edit` leave the
others' ciphertexts as they are. That holds as long as the data key is the same, and that shows only
in how the key is wrapped: every recipient's copy, since one of them alone may have been kept while
another, whose key then opens the file, was replaced.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reconciler.declarations.sops.document import Leaf, SopsDocument
from reconciler.declarations.sops.shape import VALUE

_OF_AN_EDIT: Final = frozenset({"lastmodified", "mac", "version"})


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret's encrypted value; `keys` is a digest of all that its file says of its keys.

    The path counts, since sops binds a value to it: under another one, an equal value looks
    different. `written_at` is when sops last wrote the file, None where it does not say: nobody
    can change that without the key, since the file's message authentication code covers it.
    """

    path: tuple[str | int, ...]
    text: str
    keys: str
    written_at: datetime | None


def sealed_values(document: SopsDocument) -> Mapping[str, Sealed]:
    """The encrypted value of each secret of a file, by the secret's name."""
    keys, written_at = _keys(document), _written_at(document)
    return {
        str(leaf.path[0]): Sealed(leaf.path, leaf.text, keys, written_at)
        for leaf in document.leaves
        if leaf.sealed and _is_value(leaf)
    }


def _is_value(leaf: Leaf) -> bool:
    return len(leaf.path) == 1 or leaf.path[1:] == (VALUE,)


def _written_at(document: SopsDocument) -> datetime | None:
    try:
        found = datetime.fromisoformat(document.block_text("lastmodified"))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _keys(document: SopsDocument) -> str:
    digest = hashlib.sha256()
    for leaf in document.block:
        if leaf.path[1] not in _OF_AN_EDIT:
            digest.update(repr((leaf.path, leaf.kind.value, leaf.text)).encode() + b"\n")
    return digest.hexdigest()
