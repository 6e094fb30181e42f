"""Declarations and secrets become the desired gateways: passwords, bindings, fingerprints, digest.

The digest is the same with a key or without, so that a plan made where no key is can be applied
where one is.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.declarations.bindings import binding_problems
from reconciler.declarations.catalogue.secrets import problem
from reconciler.declarations.declared import Declared
from reconciler.declarations.promotion import promote
from reconciler.declarations.rules import check_values
from reconciler.declarations.secrets import BoundSecret, SecretFiles
from reconciler.model import (
    PASSWORD_FIELD,
    DesiredGateway,
    Fingerprint,
    Gateway,
    Problem,
    Secret,
    Target,
)

_RESERVED: Final = "fingerprint_key"
_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Desired:
    """What the declarations say for one target, sorted by name; `digest` covers all of it.

    `secrets_compared` says that passwords were read, so that a plan can tell whether they changed.
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
    problems = list(_reserved(ordered, target))
    values: Mapping[str, BoundSecret] = {}
    if not keyless and not problems:
        wanted = {one.secret for one in ordered if one.secret}
        found = secrets.read(wanted | ({target.fingerprint_key} if wanted else set()))
        values = found.secrets
        problems += found.problems
    key = values.get(target.fingerprint_key)
    desired = tuple(
        _desired(one, target, secrets, values, key.value if key else None) for one in ordered
    )
    problems += _missing_key(ordered, target, secrets)
    problems += binding_problems(
        ordered, desired, values, demanded="unbound-secret" in target.errors
    )
    problems += check_values(desired, ordered, target)
    return Desired(
        desired, tuple(sorted(set(promote(problems, target)))), digest_of(desired), not keyless
    )


def digest_of(gateways: Iterable[DesiredGateway]) -> str:
    """SHA-256 over canonical JSON: fields, certificate, and each secret's name and ciphertext."""
    digest = hashlib.sha256()
    for one in gateways:
        line = [one.gateway.name, one.gateway.fields(), one.secret, one.ciphertext]
        digest.update(_encode(line).encode() + b"\n")
    return "sha256:" + digest.hexdigest()


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
    fingerprint = (
        Fingerprint.of(password, key, target=target.name, gateway=declared.name)
        if password and key
        else None
    )
    return DesiredGateway(
        gateway,
        declared.place,
        name,
        entry.ciphertext if entry else None,
        password,
        fingerprint,
        password_known=password is not None,
    )


def _reserved(declared: Sequence[Declared], target: Target) -> Iterator[Problem]:
    """The fingerprint key would be sent to a mail server: nothing is decrypted then."""
    reserved = {target.fingerprint_key, _RESERVED}
    for one in declared:
        if one.secret in reserved:
            path = one.path(PASSWORD_FIELD)
            yield problem(
                "reserved-secret",
                one.source.place(path),
                ".".join(path),
                f"the secret {one.secret!r} makes fingerprints and is never a password",
                "name the mailbox's own secret",
            )


def _missing_key(
    declared: Sequence[Declared], target: Target, secrets: SecretFiles
) -> Iterator[Problem]:
    if target.fingerprint_key not in secrets.names and any(one.secret for one in declared):
        yield problem(
            "no-fingerprint-key",
            target.place,
            f"targets.{target.name}.fingerprint_key",
            f"no secrets file holds the fingerprint key {target.fingerprint_key!r},"
            " so a changed password cannot be seen",
            "add it with sops edit: 32 random bytes in base64, from: openssl rand -base64 32",
        )
