"""Which root a chain leads to, and what hostile certificates can do: nothing."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from reconciler.discovery import chain
from reconciler.discovery.chain import LONGEST, NotReadable, links, root_of

Key = ec.EllipticCurvePrivateKey
MAIL = "mail.acme.test"
HOSTILE = "\x1b[2J\u202eevil\nroot, CN=Good Root"


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issued(subject: str, issuer: str, key: Key, signer: Key) -> bytes:
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=subject != MAIL, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.DER)


def keys(count: int) -> list[Key]:
    return [ec.generate_private_key(ec.SECP256R1()) for _ in range(count)]


ROOT_KEY, INNER_KEY, OWN_KEY, OTHER_KEY = keys(4)
ROOT = issued("Root", "Root", ROOT_KEY, ROOT_KEY)
INNER = issued("Inner", "Root", INNER_KEY, ROOT_KEY)
OWN = issued(MAIL, "Inner", OWN_KEY, INNER_KEY)


def test_the_root_that_was_sent_in_whatever_order() -> None:
    for sent in ([OWN, INNER, ROOT], [OWN, ROOT, INNER]):
        root = root_of(links(sent))
        assert root
        assert (root.der, root.self_signed) == (ROOT, True)


def test_a_root_that_was_not_sent_is_found_among_the_known_ones() -> None:
    sent = links([OWN, INNER])
    assert root_of(sent) is None
    found = root_of(sent, [ROOT])
    assert found
    assert found.der == ROOT


def test_the_own_certificate_alone() -> None:
    assert root_of(links([OWN]), [ROOT]) is None


def test_the_same_name_with_another_key_is_no_issuer() -> None:
    """A name proves nothing: the signature does."""
    forged = issued("Root", "Root", OTHER_KEY, OTHER_KEY)
    assert root_of(links([OWN, INNER, forged])) is None
    assert root_of(links([OWN, INNER]), [forged]) is None


def test_self_signed_is_its_own_root() -> None:
    alone = issued(MAIL, MAIL, OWN_KEY, OWN_KEY)
    root = root_of(links([alone]))
    assert root
    assert root.der == alone


def test_issuers_that_go_round_in_a_circle_have_no_root() -> None:
    one = issued("A", "B", OWN_KEY, OTHER_KEY)
    two = issued("B", "A", OTHER_KEY, OWN_KEY)
    assert root_of(links([one, two])) is None


def test_the_trust_store_of_this_system_is_looked_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "roots.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(ROOT))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    chain._store.cache_clear()
    try:
        # found without the one that was sent last, which leads to a root that nobody has
        cross = issued("Root", "Gone", ROOT_KEY, OTHER_KEY)
        for sent in ([OWN, INNER], [OWN, INNER, cross]):
            found = root_of(links(sent))
            assert found
            assert found.der == ROOT
    finally:
        chain._store.cache_clear()


def test_what_no_library_reads_is_said_to_be_so() -> None:
    for hostile in (b"", b"no certificate", OWN[:50], OWN + b"x"):
        with pytest.raises(NotReadable):
            links([hostile])


def test_hostile_text_is_passed_on_for_the_sink_to_escape() -> None:
    shown = links([issued(HOSTILE, HOSTILE, OWN_KEY, OWN_KEY)])
    assert "evil" in shown[0].subject
    assert shown[0].common_name == HOSTILE
    endless = links([issued("x" * 60, "y" * 60, OWN_KEY, OWN_KEY)] * 50)
    assert len(endless) == LONGEST
