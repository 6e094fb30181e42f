"""The certificate that the API shows, which can be replaced while the service runs."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from reconciler.errors import WrongUsage


class ServerTls:
    """`context` is for the next connection; `about` says what the certificate is.

    Raises WrongUsage, on making one and on `reload`; after a failed reload the one before stays.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self.reload()

    def reload(self) -> None:
        about = _judged(self._certificate, self._key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password=lambda: b"")
        except (ssl.SSLError, OSError) as error:
            said = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            raise WrongUsage(
                f"{self._certificate}: it cannot be used ({said})",
                "name a certificate and its key, both in PEM",
            ) from None
        self.context, self.about = context, about


def _judged(certificate: Path, key: Path) -> str:
    """What is wrong with the two files, in words of their own; else what the certificate is."""
    try:
        chain = x509.load_pem_x509_certificates(_read(certificate))
    except ValueError:
        raise WrongUsage(
            f"{certificate}: it is no certificate in PEM",
            "the file begins with -----BEGIN CERTIFICATE-----, and holds the chain after its own",
        ) from None
    try:
        private = serialization.load_pem_private_key(_read(key), None)
    except TypeError:
        raise WrongUsage(
            f"{key}: it is encrypted with a passphrase, which nobody is here to type",
            f"write it without one: openssl pkey -in {key} -out FILE",
        ) from None
    except ValueError:
        raise WrongUsage(
            f"{key}: it is no private key in PEM",
            "the file begins with -----BEGIN PRIVATE KEY-----",
        ) from None
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    own = chain[0]
    if private.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
        raise WrongUsage(f"{key}: it is not the key of {certificate}", "name the two that belong")
    ends = own.not_valid_after_utc
    state = "expired on" if ends < datetime.now(UTC) else "valid until"
    return f"{certificate}, {state} {ends:%Y-%m-%d}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WrongUsage(f"{path}: {error.strerror}", "let this user read the file") from None
