"""Gateways for tests, and which port of the rig each protocol and encryption mode uses."""

from typing import Any

from reconciler.model import Certificate, EncryptionMode, Gateway, ProtocolType, Secret
from reconciler.service.sessions import Deadlines, SessionSettings

NONE, TLS, STARTTLS = EncryptionMode.NONE, EncryptionMode.TLS, EncryptionMode.STARTTLS
SMTP, IMAP, POP3 = ProtocolType.SMTP, ProtocolType.IMAP, ProtocolType.POP3

USER = "alice@example.test"
PASSWORD = Secret("pw-alice")

PORTS = {
    (SMTP, NONE): "smtp",
    (SMTP, STARTTLS): "submission",
    (SMTP, TLS): "smtps",
    (IMAP, NONE): "imap",
    (IMAP, STARTTLS): "imap",
    (IMAP, TLS): "imaps",
    (POP3, NONE): "pop3",
    (POP3, STARTTLS): "pop3",
    (POP3, TLS): "pop3s",
}
EVERY_WAY = tuple(PORTS)
ENCRYPTED = tuple(way for way in EVERY_WAY if way[1] is not NONE)

HASTY = SessionSettings(
    Deadlines(dns=5, connect=5, tls=0.4, greeting=0.4, command=0.4, close=0.4, overall=5)
)
"""For tests of deadlines: a server that is stuck costs half a second."""


def make_gateway(
    protocol: ProtocolType,
    encryption: EncryptionMode,
    port: int,
    *,
    anchor: str | None = None,
    host: str = "localhost",
    **fields: Any,
) -> Gateway:
    """A gateway of alice's; `anchor` is the PEM text of its certificate file."""
    return Gateway(
        name="support",
        protocol_type=protocol,
        host=host,
        port=port,
        encryption_mode=encryption,
        certificate=Certificate("certs/root.pem", anchor) if anchor else None,
        **{"user_id": USER, "default_email_address": USER, **fields},
    )
