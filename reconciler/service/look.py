"""A look at a mail server before anything is declared: whether it is there, and what it shows.

Nothing is trusted yet and nothing secret is sent. The login that follows goes by the session's own
strict rules, with what was chosen here as its only anchor.
"""

import ssl
from dataclasses import dataclass
from functools import cache
from typing import Final

from reconciler.model import Certificate, EncryptionMode, Failure, FailureKind, Gateway
from reconciler.service.sessions import SessionError, SessionSettings, session_for

_SYSTEM: Final = Certificate("this system's trust store", "")
_NOTHING: Final = Certificate("nothing", "")
_OF_THE_CERTIFICATE: Final = frozenset({"host", "certificate_file"})


@dataclass(frozen=True, slots=True)
class Shown:
    """The certificates of a server as DER, its own first; none without encryption.

    Where this system trusts them they go up to its root. `distrust` says why it does not; they are
    then what the server sent, in its order, and may be anything.
    """

    certificates: tuple[bytes, ...]
    distrust: Failure | None = None


async def look(gateway: Gateway, settings: SessionSettings | None = None) -> Shown:
    """Connect to a gateway's server as declared, but for its certificate_file, and say no more.

    Raises:
        SessionError: no server of that protocol and encryption is there.

    """
    try:
        return Shown(await _shown(gateway, _trusting(), _SYSTEM, settings))
    except SessionError as error:
        if not _is_distrust(gateway, error.failure):
            raise
        distrust = error.failure
    return Shown(await _shown(gateway, _blind(), _NOTHING, settings), distrust)


async def _shown(
    gateway: Gateway, context: ssl.SSLContext, anchor: Certificate, settings: SessionSettings | None
) -> tuple[bytes, ...]:
    session = session_for(gateway, None, settings)
    try:
        return await session.show(context, anchor)
    finally:
        await session.close()


def _is_distrust(gateway: Gateway, failure: Failure) -> bool:
    encrypted = gateway.encryption_mode is not EncryptionMode.NONE
    return encrypted and failure.kind is FailureKind.TLS and failure.field in _OF_THE_CERTIFICATE


@cache
def _trusting() -> ssl.SSLContext:
    return ssl.create_default_context()


@cache
def _blind() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # to see what is there; a session never uses this context
    return context
