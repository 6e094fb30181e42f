"""Declarations and secrets become the desired gateways: passwords, bindings, fingerprints, digest.

The digest is the same with a key or without, so that a plan made where no key is can be applied
where one is.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.declarations import fingerprint_key
from reconciler.declarations.bindings import binding_problems
from reconciler.declarations.declared import Declared
from reconciler.declarations.promotion import promote
from reconciler.declarations.rules import check_values
from reconciler.declarations.secrets import BoundSecret, SecretFiles
from reconciler.model import (
    DesiredGateway,
    Fingerprint,
    Gateway,
    Problem,
    Secret,
    Target,
)

BY_CIPHERTEXT: Final = "ciphertext"
"""Stands for the id of a fingerprint's key where there is none; no id is that long."""

_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Desired:
    """What the declarations say for one target, sorted by name; `digest` covers all of it.

    `secrets_compared` says that a plan can tell whether passwords changed: they were read, or the
    target has no key for fingerprints and compares their ciphertexts.
    """

    gateways: tuple[DesiredGateway, ...]
    problems: tuple[Problem, ...]
    digest: str
    secrets_compared: bool


def resolve(
    declared: Sequence[Declared], target: Target, secrets: SecretFiles, *, keyless: bool = False
) -> Desired:
    """Resolve what `judge` found valid. Keyless: nothing is decrypted, and passwords are unknown.

    Problems with values and bindings are in the result, those that the target makes errors as
    errors. A secret that no file holds is `judge`'s to report; here its password is unknown.

    Raises:
        SecretsUnavailable: a file that holds a needed secret cannot be opened.

    """
    ordered = sorted(declared, key=lambda one: one.name)
    problems = list(fingerprint_key.key_problems(ordered, target, secrets))
    may_read = not any(fingerprint_key.reserved(ordered, target))
    values: Mapping[str, BoundSecret] = {}
    if not keyless and may_read:
        wanted = {one.secret for one in ordered if one.secret}
        found = secrets.read(wanted | ({target.fingerprint_key} if wanted else set()))
        values = found.secrets
        problems += found.problems
    key = values.get(target.fingerprint_key)
    desired = tuple(
        _desired(one, target, secrets, values, key.value if key else None) for one in ordered
    )
    if key:
        problems += fingerprint_key.weak_key(key.value, target, secrets)
    problems += binding_problems(
        ordered, desired, values, demanded="unbound-secret" in target.errors
    )
    problems += check_values(desired, ordered, target)
    compared = not keyless or not fingerprint_key.is_there(target, secrets)
    told = tuple(sorted(set(promote(problems, target))))
    return Desired(desired, told, digest_of(desired), compared)


def digest_of(gateways: Iterable[DesiredGateway]) -> str:
    """SHA-256 over canonical JSON: fields, certificate, and each secret's name and ciphertext."""
    digest = hashlib.sha256()
    for one in gateways:
        line = [one.gateway.name, one.gateway.fields(), one.secret, one.ciphertext]
        digest.update(_encode(line).encode() + b"\n")
    return "sha256:" + digest.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _desired(
    declared: Declared,
    target: Target,
    secrets: SecretFiles,
    values: Mapping[str, BoundSecret],
    key: Secret | None,
) -> DesiredGateway:
    name = declared.secret
    gateway = Gateway.of(declared.name, declared.fields, declared.certificate)
    if name is None:
        return DesiredGateway(gateway, declared.place)
    entry, value = secrets.names.get(name), values.get(name)
    password = value.value if value else None
    fingerprint = None
    if password and key:
        fingerprint = Fingerprint.of(password, key, target=target.name, gateway=declared.name)
    elif entry and not fingerprint_key.is_there(target, secrets):
        fingerprint = Fingerprint(BY_CIPHERTEXT, _sha256(entry.ciphertext))
    return DesiredGateway(
        gateway,
        declared.place,
        name,
        entry.ciphertext if entry else None,
        password,
        fingerprint,
        password_known=password is not None,
    )
