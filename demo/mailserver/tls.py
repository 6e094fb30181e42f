"""The server's end of TLS, without I/O.

asyncio's own TLS holds a buffer of 256 KiB for each connection; this holds a few KiB, so that
thousands of sessions fit, and takes over a connection in the middle, as STARTTLS needs.
"""

import contextlib
import ssl
from pathlib import Path

_CHUNK = 65_536


class TlsClosed(Exception):
    """The peer has ended TLS."""


class Tls:
    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self, received: bytes) -> bool:
        """Take a step of the handshake; true when it is finished. Raises ssl.SSLError."""
        self._incoming.write(received)
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self, received: bytes) -> bytes:
        """The plain bytes that are complete by now, if any. Raises ssl.SSLError, TlsClosed."""
        self._incoming.write(received)
        plain = bytearray()
        try:
            while chunk := self._ssl.read(_CHUNK):
                plain += chunk
        except ssl.SSLWantReadError:
            return bytes(plain)
        except ssl.SSLZeroReturnError:
            pass
        if plain:
            return bytes(plain)
        raise TlsClosed

    def encrypt(self, plain: bytes) -> bytes:
        view = memoryview(plain)
        while view:
            view = view[self._ssl.write(view) :]
        return self.pending()

    def pending(self) -> bytes:
        """What must be sent to the peer now."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """The end of TLS, so that the peer can tell it from a cut connection."""
        with contextlib.suppress(ssl.SSLError):  # the peer has not ended its side yet
            self._ssl.unwrap()
        return self.pending()


def server_context(certificate_and_key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate_and_key)
    return context
