"""Where a secret may be sent: its encrypted binding against the gateway that names it."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from reconciler.declarations.catalogue.secrets import problem
from reconciler.declarations.declared import Declared
from reconciler.declarations.secrets import BoundSecret
from reconciler.model import (
    CERTIFICATE_FIELD,
    PASSWORD_FIELD,
    DesiredGateway,
    EncryptionMode,
    Problem,
)

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def binding_problems(
    declared: Sequence[Declared],
    desired: Sequence[DesiredGateway],
    values: Mapping[str, BoundSecret],
    *,
    demanded: bool,
) -> Iterator[Problem]:
    """Every gateway that would send a bound secret elsewhere than it is bound to.

    `demanded` reports secrets without hosts too. Values that are not at hand are passed over.
    """
    for one, wanted in zip(declared, desired, strict=True):
        bound = values.get(wanted.secret) if wanted.secret else None
        if bound is None:
            continue
        if bound.hosts is not None or bound.anchors is not None:
            yield from _broken(one, wanted, bound)
        if demanded and bound.hosts is None:
            yield _problem(
                one,
                PASSWORD_FIELD,
                "unbound-secret",
                f"the secret {wanted.secret!r} is not bound to hosts",
                "with sops edit: NAME: {value: PASSWORD, hosts: [HOST]}",
            )


def _broken(declared: Declared, desired: DesiredGateway, bound: BoundSecret) -> Iterator[Problem]:
    """The hosts of a binding are as secret as its value: no message names them."""
    gateway, name = desired.gateway, desired.secret
    if bound.hosts is not None and not any(_fits(gateway.host, host) for host in bound.hosts):
        yield _problem(
            declared,
            "host",
            "secret-bound-elsewhere",
            f"the secret {name!r} is bound to other hosts than {gateway.host!r}",
            "correct the host, or have somebody with the key add it to the secret's hosts",
        )
    if gateway.encryption_mode is EncryptionMode.NONE:
        yield _problem(
            declared,
            "encryption_mode",
            "secret-bound-encrypted-only",
            f"the bound secret {name!r} would be sent without encryption",
            "use TLS or STARTTLS",
        )
    elif bound.anchors is not None and not _anchored(desired, bound.anchors):
        yield _problem(
            declared,
            CERTIFICATE_FIELD,
            "secret-bound-anchors",
            f"the secret {name!r} is bound to other certificates than those of certificate_file",
            "use the certificate file that it was bound to, or have somebody with the key add the"
            " certificate's fingerprint to the secret's anchors",
        )


def _fits(host: str, pattern: str) -> bool:
    """Exact, or with `*` for any characters; a dot at the end of the host changes nothing."""
    plain = host.removesuffix(".")
    if "*" not in pattern:
        return plain == pattern.removesuffix(".")
    return _pattern(pattern.removesuffix(".")).fullmatch(plain) is not None


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile("[^/@]*".join(re.escape(part) for part in re.split(r"\*+", pattern)))


def _anchored(desired: DesiredGateway, anchors: Sequence[str]) -> bool:
    """Whether every certificate of the gateway's file is among the anchors; none is not enough."""
    certificate = desired.gateway.certificate
    found = _fingerprints(certificate.pem) if certificate else frozenset()
    return bool(found) and found <= set(anchors)


@lru_cache(maxsize=256)
def _fingerprints(pem: str) -> frozenset[str]:
    """SHA-256 of each certificate; a damaged one has the fingerprint "", which fits nothing."""
    return frozenset(_fingerprint(body) for body in _PEM.findall(pem))


def _fingerprint(body: str) -> str:
    try:
        return hashlib.sha256(base64.b64decode("".join(body.split()), validate=True)).hexdigest()
    except binascii.Error:
        return ""


def _problem(declared: Declared, key: str, slug: str, message: str, hint: str) -> Problem:
    path = declared.path(key)
    return problem(slug, declared.source.place(path), ".".join(path), message, hint)
