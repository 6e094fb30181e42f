"""The server's side of TLS, from a pair of certificate and key."""

import ssl
from tempfile import NamedTemporaryFile

from tests.rig.certificates import KeyPair


def server_context(pair: KeyPair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with NamedTemporaryFile("w") as file:  # a context takes its key from files only
        file.write(pair.certificate + pair.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context
