"""Where the service of a target is, and what opens it: its address, a token, TLS, a proxy.

The settings of a target are in a tree that a pull request changes, so they choose nothing that a
credential could leak by: the token says itself where it may go, and what concerns trust and the
way there comes from the environment.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from reconciler.errors import InvalidInput
from reconciler.model import Target
from reconciler.tokens import Token, origin_of

CA_FILE: Final = "GATEWAYS_CA_FILE"
PROXY: Final = "GATEWAYS_PROXY"

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Access:
    """`tls` is None where the service is on this machine and speaks in clear."""

    origin: str
    token: Token
    tenant: str | None = None
    tls: ssl.SSLContext | None = None
    proxy: str | None = None


def access_of(target: Target, environment: Mapping[str, str]) -> Access:
    """What the settings and the environment say, before anything is sent anywhere.

    Raises:
        InvalidInput: something is missing, or the token is not for this address.

    """
    origin = _origin(target)
    token = _token(target, environment)
    _expect_fit(target, token, origin)
    encrypted = origin.startswith("https:")
    return Access(
        origin,
        token,
        target.tenant,
        _tls(environment.get(CA_FILE)) if encrypted else None,
        _proxy(environment.get(PROXY)) if encrypted else None,
    )


def _origin(target: Target) -> str:
    try:
        origin = origin_of(target.url or "")
    except ValueError as error:
        raise _invalid(target, f"url is no address of a service: {error}") from None
    if origin.startswith("http:") and not _on_this_machine(origin):
        raise _invalid(
            target,
            f"url {origin} is not encrypted",
            "write https://; in clear a service is reached on this machine only",
        )
    return origin


def _token(target: Target, environment: Mapping[str, str]) -> Token:
    name = target.token_env or ""
    text = environment.get(name, "").strip()
    if not text:
        raise _invalid(
            target,
            f"environment variable {name} is not set",
            "it holds the token; on the service's machine one is made with: gateways token new",
        )
    try:
        return Token.parse(text)
    except ValueError as error:
        raise _invalid(
            target,
            f"environment variable {name} holds no token: {error}",
            "copy the whole line that gateways token new printed",
        ) from None


def _expect_fit(target: Target, token: Token, origin: str) -> None:
    """Raise InvalidInput unless the token may be sent there."""
    if token.origin == origin or (token.origin is None and _on_this_machine(origin)):
        return
    made_for = f"is for {token.origin}" if token.origin else "names no address"
    raise _invalid(
        target,
        f"the token of {target.token_env} {made_for}, so it is not sent to {origin}",
        f"correct url, or make a token with: gateways token new --url {origin}",
    )


def _tls(ca_file: str | None) -> ssl.SSLContext:
    """Verified always, by the system's certificate authorities or by those of a file alone."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        why = getattr(error, "strerror", None) or "it holds no certificate in PEM"
        raise InvalidInput(
            f"the file that {CA_FILE} names cannot be used: {why}",
            "it holds the certificate of the authority that signed the service's, in PEM",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _proxy(url: str | None) -> str | None:
    """What HTTP_PROXY and its like say is not followed: this is asked for by its own name."""
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise InvalidInput(
            f"{PROXY} is no address of a proxy", "for example: http://proxy.example.com:3128"
        )
    return url


def _on_this_machine(origin: str) -> bool:
    return urlsplit(origin).hostname in _LOOPBACK


def _invalid(target: Target, message: str, hint: str = "") -> InvalidInput:
    return InvalidInput(f"{target.place}: target {target.name!r}: {message}", hint)
