"""TLS over bytes in memory: what goes in and out of a socket is the caller's business.

The event loop's own TLS transport keeps a read buffer of 256 KiB for each connection; thousands of
idle sessions must not cost that. Without it a held session costs what OpenSSL needs, on any loop.
"""

import ssl
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

RECORD: Final = 16 * 1024  # the longest TLS record (RFC 8446 5.1)


@lru_cache(maxsize=256)  # gateways of one organisation share an anchor; a context is never changed
def context_for(pem: str) -> ssl.SSLContext:
    """Trusts the certificates in `pem` and nothing else; host name checked; TLS 1.2 at least.

    A server's own certificate may stand in `pem` too, issued by whomever: it is then pinned.

    Raises:
        ssl.SSLError, ValueError: `pem` holds no certificate that can be read.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks chain and name; has no anchors yet
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return context


class TlsLayer:
    """The client's side of one TLS connection."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        """`host` is checked against the certificate; as SNI it is sent only if it is a name."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def handshake(self) -> bool:
        """Go on with the handshake: True when it is complete, False when more bytes are needed."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        """Bytes from the socket; no bytes mean its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def drain(self) -> bytes:
        """Bytes that must go out to the socket."""
        return self._outgoing.read()

    def write(self, data: bytes) -> None:
        self._tls.write(data)

    def read(self) -> bytes | None:
        """Plain bytes; None when more must be fed first, no bytes at the end."""
        try:
            return self._tls.read(RECORD)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def shut(self) -> bytes:
        """Bytes that tell the server that nothing more comes."""
        with suppress(ssl.SSLError):  # the server's own goodbye is not waited for
            self._tls.unwrap()
        return self.drain()

    @property
    def version(self) -> str:
        return self._tls.version() or ""

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The server's chain as DER, its own first: verified up to the anchor, else as it was sent.

        Python has a public method for it from 3.13 on, and the same one under another name before;
        where it has neither, the server's own certificate is all there is.
        """
        verified = self._tls.context.verify_mode is ssl.CERT_REQUIRED
        name = "get_verified_chain" if verified else "get_unverified_chain"
        for holder in (self._tls, getattr(self._tls, "_sslobj", None)):
            method = getattr(holder, name, None)
            if method and (chain := method()):
                return tuple(map(_der, chain))
        own = self._tls.getpeercert(binary_form=True)
        return (own,) if own else ()

    @property
    def not_after(self) -> datetime:
        """When the server's certificate expires."""
        certificate = self._tls.getpeercert() or {}
        return datetime.fromtimestamp(
            ssl.cert_time_to_seconds(str(certificate["notAfter"])), tz=UTC
        )


def _der(certificate: Any) -> bytes:
    """Bytes from 3.13 on, and an object that gives PEM before."""
    if isinstance(certificate, bytes):
        return certificate
    return ssl.PEM_cert_to_DER_cert(certificate.public_bytes())
