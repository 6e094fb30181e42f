"""Opens a sops file: in-process for age and PGP, by the real sops for every other key and rule.

The order is fixed: judge the `sops:` block, unwrap the data key, decrypt, verify the MAC.
"""

from collections.abc import Sequence

from reconciler.declarations.sops import binary, cipher, policy
from reconciler.declarations.sops.cipher import Opened
from reconciler.declarations.sops.document import SopsDocument
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.keys import Keyring


def decrypt(document: SopsDocument, keyring: Keyring, named: Sequence[str]) -> list[Opened]:
    """Every leaf, decrypted, in the file's order; `named` are the target's key services.

    Raises:
        SopsError: in plain words why not; nothing was contacted before the block was judged.

    """
    if not document.block:
        raise SopsError(
            Reason.NOT_ENCRYPTED,
            "the file is not encrypted: it has no sops block",
            "encrypt it with: sops encrypt -i FILE; and change the secrets that stood in it",
        )
    policy.check(document, named)
    services = policy.services(document)
    if _split(document):
        return binary.open_document(document, services, keyring.environ)
    data_key = keyring.unwrap(document)
    if data_key is None:
        if services or keyring.plugins:
            return binary.open_document(document, services, keyring.environ)
        raise keyring.explain(document)
    try:
        return cipher.open_document(document, data_key)
    except SopsError as error:
        if error.reason is not Reason.FOR_SOPS:
            raise
        return binary.open_document(document, services, keyring.environ)


def _split(document: SopsDocument) -> bool:
    """Whether the data key is split over groups of keys, which only the real sops puts together."""
    groups = any(leaf.path[1] == "key_groups" and leaf.text for leaf in document.block)
    return groups or document.block_text("shamir_threshold") not in ("", "0")
