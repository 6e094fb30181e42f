"""A look at a server: what it shows, whether the system trusts it, and that nothing is said."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from demo.certificates import Variant, write_all
from demo.mailserver.server import MailServer
from reconciler.model import EncryptionMode, FailureKind, Gateway, ProtocolType
from reconciler.service import look as module
from reconciler.service.look import look
from reconciler.service.sessions import SessionError

ENCRYPTED = (EncryptionMode.TLS, EncryptionMode.STARTTLS)


@pytest.fixture
def own_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The system's trust store is asked for anew."""
    module._trusting.cache_clear()
    yield monkeypatch
    module._trusting.cache_clear()


def names(ders: tuple[bytes, ...]) -> list[str]:
    return [x509.load_der_x509_certificate(der).subject.rfc4514_string() for der in ders]


def gateway(server: MailServer, protocol: ProtocolType, mode: EncryptionMode) -> Gateway:
    port = server.port(protocol, mode)
    return Gateway("x", protocol, "localhost", port, encryption_mode=mode)


@pytest.mark.parametrize("mode", EncryptionMode)
@pytest.mark.parametrize("protocol", ProtocolType)
async def test_an_untrusted_server_shows_what_it_sends(
    protocol: ProtocolType, mode: EncryptionMode, tmp_path: Path
) -> None:
    write_all(tmp_path, ("localhost", "127.0.0.1"))
    with (tmp_path / "good.pem").open("ab") as file:
        file.write((tmp_path / "ca.pem").read_bytes())
    async with MailServer({"a": "b"}, directory=tmp_path) as server:
        shown = await look(gateway(server, protocol, mode))
        assert server.counters.logins_ok + server.counters.logins_refused == 0
    if mode is EncryptionMode.NONE:
        assert (shown.certificates, shown.distrust) == ((), None)
        return
    assert names(shown.certificates) == ["CN=localhost", "CN=Demo CA"]
    assert shown.distrust
    assert shown.distrust.kind is FailureKind.TLS


@pytest.mark.parametrize("mode", ENCRYPTED)
async def test_a_trusted_server_shows_the_chain_up_to_the_system_s_root(
    mode: EncryptionMode, own_store: pytest.MonkeyPatch
) -> None:
    """The server sends its own certificate only."""
    async with MailServer({"a": "b"}) as server:
        own_store.setenv("SSL_CERT_FILE", str(server.ca_file))
        shown = await look(gateway(server, ProtocolType.IMAP, mode))
    assert (names(shown.certificates), shown.distrust) == (["CN=localhost", "CN=Demo CA"], None)


@pytest.mark.parametrize("variant", [Variant.EXPIRED, Variant.WRONG_NAME, Variant.OTHER_CA])
async def test_a_faulty_certificate_is_shown_and_distrusted(
    variant: Variant, own_store: pytest.MonkeyPatch
) -> None:
    async with MailServer({"a": "b"}) as server:
        own_store.setenv("SSL_CERT_FILE", str(server.ca_file))
        server.faults = replace(server.faults, certificate=variant)
        shown = await look(gateway(server, ProtocolType.IMAP, EncryptionMode.TLS))
    assert len(shown.certificates) == 1
    assert shown.distrust


async def test_a_server_that_is_another_one_is_none() -> None:
    async with MailServer({"a": "b"}) as server:
        port = server.port(ProtocolType.SMTP, EncryptionMode.TLS)
        wrong = Gateway("x", ProtocolType.IMAP, "localhost", port)
        with pytest.raises(SessionError, match="SMTP server"):
            await look(wrong)
        server.faults = replace(server.faults, hide_starttls=True)
        bare = gateway(server, ProtocolType.IMAP, EncryptionMode.STARTTLS)
        with pytest.raises(SessionError, match="STARTTLS"):
            await look(bare)
        plain = replace(bare, encryption_mode=EncryptionMode.TLS)
        with pytest.raises(SessionError, match="plain text"):
            await look(plain)
