"""What a fault of the network or of TLS means for people: a kind, a field to blame, a sentence."""

import errno
import re
import socket
import ssl
from typing import Final

from reconciler.clock import now
from reconciler.model import Certificate, Failure, FailureKind
from reconciler.service.sessions import SessionError

MAX_QUOTED: Final = 200  # what a server says is quoted no longer than this: it is not our text

# The numbers of OpenSSL's X509_V_ERR_… that a user can do something about.
_EXPIRED: Final = frozenset({9, 10})  # not yet valid, has expired
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21, 27})
_WRONG_NAME: Final = frozenset({62, 64})  # host name, IP address

_TOO_OLD: Final = re.compile("PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|WRONG_SSL_VERSION")
_NO_CIPHER: Final = re.compile("HANDSHAKE_FAILURE|NO_SHARED_CIPHER|INSUFFICIENT_SECURITY")
_UNREACHABLE: Final = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
)


def fail(
    kind: FailureKind,
    field: str | None,
    message: str,
    hint: str = "",
    *,
    transient: bool = False,
) -> SessionError:
    return SessionError(Failure(kind, field, message, hint), transient=transient)


def quoted(raw: bytes) -> str:
    """A server's words on one line, without control, bidi and other invisible characters.

    The result may still be long: cut it with `shorten`, after masking what must not be seen.
    """
    text = raw.decode("utf-8", "replace")
    if not text.isprintable():  # most are, and every reply comes this way
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())


def words_of(line: bytes) -> list[str]:
    """The words of a capability line, in upper case; what is not ASCII matches nothing."""
    return line.decode("ascii", "replace").upper().split()


def shorten(text: str) -> str:
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"


def dns_failure(host: str, error: OSError | UnicodeError) -> SessionError:
    again = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
    if again:
        message, hint = f"{host}: no name server answers", "try again, or check this network's DNS"
    else:
        message, hint = f"{host}: no such host", "check the spelling of the host name"
    return fail(FailureKind.DNS, "host", message, hint, transient=again)


def connect_failure(where: str, error: OSError) -> SessionError:
    if isinstance(error, ConnectionRefusedError):
        return fail(
            FailureKind.TCP,
            "port",
            f"{where} refuses the connection: nothing listens there",
            "check the port, and whether the mail server runs",
            transient=True,
        )
    if isinstance(error, TimeoutError):
        return fail(
            FailureKind.TIMEOUT,
            "host",
            f"{where} does not answer",
            "check host and port, and whether a firewall is between",
            transient=True,
        )
    reason = "cannot be reached from here" if error.errno in _UNREACHABLE else "cannot be connected"
    return fail(FailureKind.TCP, "host", f"{where} {reason}", "check the host", transient=True)


def tls_failure(
    where: str, error: ssl.SSLError, first_bytes: bytes, anchor: Certificate
) -> SessionError:
    """Why a handshake failed. `first_bytes` are what the server sent first, TLS or not."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_failure(where, error, anchor)
    reason = error.reason or ""
    if first_bytes and not looks_like_tls(first_bytes):
        return fail(
            FailureKind.TLS,
            "encryption_mode",
            f"{where} answers in plain text, not in TLS",
            "this port expects STARTTLS or NONE: change encryption_mode, or the port",
        )
    if _TOO_OLD.search(reason):
        return fail(
            FailureKind.TLS,
            "encryption_mode",
            f"{where} speaks no TLS version from 1.2 on",
            "its operator must enable TLS 1.2 or 1.3: older versions are not secure",
        )
    if _NO_CIPHER.search(reason):
        return fail(
            FailureKind.TLS,
            "encryption_mode",
            f"{where} shares no TLS cipher with us",
            "its operator must enable a cipher of TLS 1.2 or 1.3 that is still secure",
        )
    if reason.endswith("UNRECOGNIZED_NAME"):
        return fail(FailureKind.TLS, "host", f"{where} does not know itself by this host name")
    words = reason.replace("_", " ").lower() or "no reason given"
    return fail(FailureKind.TLS, "port", f"{where}: the TLS handshake failed ({words})")


def looks_like_tls(data: bytes) -> bool:
    """Handshake (22) or alert (21) record, major version 3."""
    return data[:1] in (b"\x15", b"\x16") and data[1:2] in (b"\x03", b"")


def _certificate_failure(
    where: str, error: ssl.SSLCertVerificationError, anchor: Certificate
) -> SessionError:
    code = error.verify_code
    if code in _WRONG_NAME:
        return fail(
            FailureKind.TLS,
            "host",
            f"{where}: the server's certificate is not for this host name",
            "declare the name that the certificate is for; an IP address must stand in it as one",
        )
    if code in _EXPIRED:
        return _expired(where, anchor)
    if code in _UNKNOWN_ISSUER:
        return fail(
            FailureKind.TLS,
            "certificate_file",
            f"{where}: the server's certificate is not issued by any certificate in {anchor.file}",
            "put the root certificate of its issuer there; the server must send intermediate ones",
        )
    return fail(
        FailureKind.TLS,
        "certificate_file",
        f"{where}: the server's certificate is refused ({shorten(error.verify_message)})",
    )


def _expired(where: str, anchor: Certificate) -> SessionError:
    """Blames the file where the anchor itself is out of its time, else the server."""
    from cryptography import x509  # noqa: PLC0415  # only a failure pays for it

    moment = now()
    anchors = x509.load_pem_x509_certificates(anchor.pem.encode()) if anchor.pem else ()
    for certificate in anchors:
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            return fail(
                FailureKind.TLS,
                "certificate_file",
                f"{where}: a certificate in {anchor.file} has expired or is not yet valid",
                "put the current certificate there",
            )
    return fail(
        FailureKind.TLS,
        "host",
        f"{where}: the server's certificate has expired or is not yet valid",
        "its operator must renew it; if it looks valid, check this machine's clock",
    )
