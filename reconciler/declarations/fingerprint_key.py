"""The key of fingerprints: what can be said of it, by its name alone and by its value."""

from collections.abc import Iterator, Sequence
from typing import Final

from reconciler.declarations.catalogue.secrets import problem
from reconciler.declarations.declared import Declared
from reconciler.declarations.secrets import SecretFiles
from reconciler.model import PASSWORD_FIELD, Problem, Secret, Target

SHORTEST: Final = 16
"""Characters; below that, passwords can be guessed from a stolen database by trying keys too."""

_RESERVED: Final = "fingerprint_key"
_MAKE_ONE: Final = "32 random bytes in base64, from: openssl rand -base64 32"


def is_there(target: Target, secrets: SecretFiles) -> bool:
    """Whether a secrets file holds the target's key."""
    return target.fingerprint_key in secrets.names


def key_problems(
    declared: Sequence[Declared], target: Target, secrets: SecretFiles
) -> Iterator[Problem]:
    """What shows without decrypting anything."""
    yield from reserved(declared, target)
    if not is_there(target, secrets) and any(one.secret in secrets.names for one in declared):
        yield problem(
            "no-fingerprint-key",
            target.place,
            f"targets.{target.name}.fingerprint_key",
            f"no secrets file holds the fingerprint key {target.fingerprint_key!r}, so passwords"
            " are compared by their encrypted text: encrypting one again sends it again",
            f"add it with sops edit: {_MAKE_ONE}",
        )


def reserved(declared: Sequence[Declared], target: Target) -> Iterator[Problem]:
    """The fingerprint key would be sent to a mail server: nothing may be decrypted then."""
    names = {target.fingerprint_key, _RESERVED}
    for one in declared:
        if one.secret in names:
            path = one.path(PASSWORD_FIELD)
            yield problem(
                "reserved-secret",
                one.source.place(path),
                ".".join(path),
                f"the secret {one.secret!r} makes fingerprints and is never a password",
                "name the mailbox's own secret",
            )


def weak_key(key: Secret, target: Target, secrets: SecretFiles) -> Iterator[Problem]:
    if len(key.reveal()) < SHORTEST:
        yield problem(
            "weak-fingerprint-key",
            secrets.names[target.fingerprint_key].place,
            target.fingerprint_key,
            f"the fingerprint key has fewer than {SHORTEST} characters",
            f"replace it with sops edit: {_MAKE_ONE}",
        )
