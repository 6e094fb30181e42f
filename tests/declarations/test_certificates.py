"""Certificate files: what is read, what is refused, and that nothing outside the project is."""

import os
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.declarations.certificate_facts import NotACertificate, facts_of, split
from reconciler.declarations.certificates import LARGEST, CertificateFiles, CertificateReading
from reconciler.pem import pem_of
from tests import certs

FILE = "gateways.d/support.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project/gateways.d/certs").mkdir(parents=True)
    return tmp_path / "project"


def put(root: Path, content: bytes, name: str = "root.pem") -> Path:
    file = root / "gateways.d/certs" / name
    file.write_bytes(content)
    return file


def read(root: Path, path: str = "certs/root.pem") -> CertificateReading:
    return CertificateFiles(root).read(FILE, path)


def refused(reading: CertificateReading) -> str:
    """The problem as one text; a reading with a problem has no certificate."""
    assert reading.problem is not None
    assert reading.certificate is None
    slug, message, hint = reading.problem
    return f"{slug}: {message}\n  hint: {hint}"


def test_pem_and_der_of_the_same_certificate_have_the_same_digest(root: Path) -> None:
    issued = certs.ca()
    put(root, issued.pem)
    put(root, issued.der, "root.cer")
    pem, der = read(root), read(root, "certs/root.cer")
    assert pem.certificate is not None
    assert der.certificate is not None
    assert pem.certificate.file == "gateways.d/certs/root.pem"
    assert pem.certificate.digest == der.certificate.digest
    assert (pem.der, der.der) == (False, True)


def test_text_around_and_line_ends_make_no_difference(root: Path) -> None:
    issued = certs.ca()
    text = b"\xef\xbb\xbfBag Attributes\r\n" + issued.pem.replace(b"\n", b"\r\n") + b"\r\nend\r\n"
    put(root, text)
    certificate = read(root).certificate
    assert certificate is not None
    assert certificate.pem == issued.pem.decode()


def test_every_certificate_of_a_bundle_is_kept_in_order(root: Path) -> None:
    one, two = certs.ca("One"), certs.ca("Two")
    put(root, two.pem + b"\n" + one.pem)
    reading = read(root)
    assert reading.certificate is not None
    assert reading.certificate.pem == (two.pem + one.pem).decode()
    assert len(reading.facts) == 2


def test_what_is_read_works_as_a_trust_anchor(root: Path) -> None:
    put(root, certs.ca().der, "root.cer")
    certificate = read(root, "certs/root.cer").certificate
    assert certificate is not None
    context = ssl.create_default_context(cadata=certificate.pem)
    assert len(context.get_ca_certs()) == 1


def test_facts_of_a_leaf() -> None:
    leaf = certs.leaf(certs.ca(), ["Mail.Example.com", "*.example.net"], ["192.0.2.1"])
    facts = facts_of(leaf.der)
    assert facts.not_before == certs.START
    assert facts.not_after == certs.END
    assert facts.names == ("mail.example.com", "*.example.net")
    assert [str(address) for address in facts.addresses] == ["192.0.2.1"]
    assert (facts.authority, facts.self_issued, facts.weakness) == (False, False, None)


def test_the_common_name_counts_only_without_a_list() -> None:
    root = certs.ca()
    assert facts_of(certs.leaf(root, [], common_name="Old.example").der).names == ("old.example",)
    assert facts_of(certs.leaf(root, ["new.example"], common_name="old").der).names == (
        "new.example",
    )


def test_facts_of_an_authority() -> None:
    facts = facts_of(certs.ca().der)
    assert (facts.authority, facts.self_issued) == (True, True)


@pytest.mark.parametrize(("algorithm", "shown"), [("sha1", "SHA-1"), ("md5", "MD5")])
def test_a_broken_signature_is_a_weakness(algorithm: str, shown: str) -> None:
    der = certs.broken_signature(certs.rsa_key(), algorithm)
    assert facts_of(der).weakness == f"a signature made with {shown}"


def test_a_root_may_have_a_broken_signature() -> None:
    root = certs.ca(key=certs.rsa_key())
    old = root.der.replace(certs.RSA_WITH + b"\x0b", certs.RSA_WITH + b"\x05")
    assert old != root.der
    assert facts_of(old).weakness is None


def test_a_small_key_is_a_weakness() -> None:
    assert facts_of(certs.ca(key=certs.small_key()).der).weakness == "an RSA key of 1024 bits"


def test_a_damaged_certificate_never_raises_anything_else() -> None:
    good = certs.leaf(certs.ca(), ips=["192.0.2.1"]).der
    refusals = 0
    for at in range(len(good)):
        for value in (0x00, 0x7F, 0xFF):
            broken = good[:at] + bytes([value]) + good[at + 1 :]
            try:
                [facts_of(der) for der in split(broken)[0]]
            except NotACertificate:
                refusals += 1
    for length in range(len(good)):
        with pytest.raises(NotACertificate):
            [facts_of(der) for der in split(good[:length])[0]]
    assert refusals > 100


def test_pem_is_written_as_cryptography_writes_it() -> None:
    issued = certs.leaf(certs.ca(), [f"host{n}.example.com" for n in range(40)])
    assert pem_of(split(issued.pem)[0]) == issued.pem.decode()


@pytest.mark.parametrize("path", ["../root.pem", "certs/../../x.pem", "/etc/ssl/x.pem", "", "."])
def test_a_path_that_leaves_the_folder_is_refused_unread(root: Path, path: str) -> None:
    assert refused(read(root, path)) == (
        f"certificate-outside-project: certificate file {path!r} is not inside the project\n"
        "  hint: copy it into the project, for instance to certs/ beside the declarations"
    )


def test_a_nul_in_the_path_is_refused(root: Path) -> None:
    assert "certificate-outside-project" in refused(read(root, "certs/\0.pem"))


def test_a_link_out_of_the_project_is_refused(root: Path) -> None:
    outside = root.parent / "outside.pem"
    outside.write_bytes(certs.ca().pem)
    (root / "gateways.d/certs/root.pem").symlink_to(outside)
    assert "certificate-outside-project" in refused(read(root))


def test_a_linked_folder_out_of_the_project_is_refused(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "root.pem").write_bytes(certs.ca().pem)
    (root / "gateways.d/linked").symlink_to(outside, target_is_directory=True)
    assert "certificate-outside-project" in refused(read(root, "linked/root.pem"))


def test_a_link_to_a_secret_of_the_machine_is_neither_read_nor_quoted(root: Path) -> None:
    (root / "gateways.d/certs/root.pem").symlink_to("/proc/self/environ")
    assert "certificate-outside-project" in refused(read(root))


def test_a_link_inside_the_project_is_followed(root: Path) -> None:
    put(root, certs.ca().pem, "2026.pem")
    (root / "gateways.d/certs/root.pem").symlink_to("2026.pem")
    assert read(root).problem is None


def test_links_in_a_circle_are_refused(root: Path) -> None:
    (root / "gateways.d/certs/root.pem").symlink_to("root.pem")
    assert "certificate-unreadable" in refused(read(root))


def test_the_project_itself_may_be_behind_a_link(root: Path) -> None:
    put(root, certs.ca().pem)
    link = root.parent / "link"
    link.symlink_to(root, target_is_directory=True)
    assert read(link).problem is None


def test_a_missing_file_names_its_neighbour(root: Path) -> None:
    put(root, certs.ca().pem)
    assert refused(read(root, "certs/roots.pem")) == (
        "certificate-missing: certificate file 'gateways.d/certs/roots.pem' does not exist\n"
        "  hint: did you mean 'root.pem'?"
    )
    assert refused(read(root, "nowhere/x.pem")) == (
        "certificate-missing: certificate file 'gateways.d/nowhere/x.pem' does not exist\n"
        "  hint: the path is relative to this file"
    )


def test_a_pipe_does_not_hold_up_the_reader(root: Path) -> None:
    os.mkfifo(root / "gateways.d/certs/root.pem")
    assert "is not a regular file" in refused(read(root))


def test_a_folder_is_refused(root: Path) -> None:
    (root / "gateways.d/certs/root.pem").mkdir()
    assert "is not a regular file" in refused(read(root))


def test_the_largest_file_that_is_read(root: Path) -> None:
    pem = certs.ca().pem
    put(root, pem.ljust(LARGEST, b"\n"))
    assert read(root).problem is None
    put(root, pem.ljust(LARGEST + 1, b"\n"))
    assert refused(read(root)) == (
        "certificate-unreadable: certificate file 'gateways.d/certs/root.pem' is larger than 64"
        " KiB\n  hint: keep the root certificate of the mail server alone"
    )


@pytest.mark.parametrize("form", ["key_pem", "key_der", "both"])
def test_a_private_key_is_an_error_that_does_not_show_it(root: Path, form: str) -> None:
    issued = certs.ca()
    content = issued.pem + issued.key_pem if form == "both" else getattr(issued, form)
    put(root, content)
    text = refused(read(root))
    assert text == (
        "certificate-private-key: certificate file 'gateways.d/certs/root.pem' holds a private"
        " key\n  hint: remove the file, have the key replaced since git remembers it, and commit"
        " the certificate alone"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is neither PEM nor DER"),
        (b"hello", "is neither PEM nor DER"),
        (b"\x30", "holds a damaged certificate"),
        (b"\x30\x82\x01\x00\x30\x00", "holds a damaged certificate"),
        (b"\x30\x82\x01\x00\x02\x01\x03", "is a PKCS#12 store, which may hold a private key"),
        (b"\x30\x82\x01\x00\x06\x09", "is a PKCS#7 bundle"),
        ("-----BEGIN".encode("utf-16"), "is UTF-16 text"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "holds a public key alone"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", "holds a revocation list"),
        (b"-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----", "holds a PKCS#7 bundle"),
        (b"-----BEGIN SOMETHING-----\nAAAA\n-----END SOMETHING-----", "holds no certificate"),
        (
            b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
            "holds a certificate request",
        ),
        (
            b"-----BEGIN TRUSTED CERTIFICATE-----\nAAAA\n-----END TRUSTED CERTIFICATE-----",
            "holds a certificate in OpenSSL's own trusted form",
        ),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "holds a damaged certificate"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "holds a damaged certificate",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----",
            "holds a damaged certificate",
        ),
    ],
)
def test_what_is_not_a_certificate_is_named(root: Path, content: bytes, message: str) -> None:
    put(root, content)
    text = refused(read(root))
    expected = f"certificate file 'gateways.d/certs/root.pem' {message}\n"
    assert text.startswith(f"certificate-unreadable: {expected}")


def test_one_damaged_certificate_spoils_the_bundle(root: Path) -> None:
    good, damaged = certs.ca().pem, certs.ca().pem.replace(b"-----END", b"----END")
    put(root, good + damaged)
    assert "holds a damaged certificate" in refused(read(root))


def test_a_file_is_read_once(root: Path) -> None:
    file = put(root, certs.ca().pem)
    files = CertificateFiles(root)
    first = files.read(FILE, "certs/root.pem")
    file.unlink()
    assert files.read("gateways.d/other.yaml", "./certs//root.pem") is first


def test_files_inside_a_folder_are_sorted(root: Path) -> None:
    for name in ("b.pem", "a.crt", "c.txt"):
        put(root, certs.ca().pem, name)
    files = CertificateFiles(root)
    assert [reading.file for reading in files.inside("gateways.d/certs")] == [
        "gateways.d/certs/a.crt",
        "gateways.d/certs/b.pem",
    ]
    assert files.inside("nowhere") == ()


def test_usable_at_a_moment(root: Path) -> None:
    put(root, certs.ca().pem)
    reading = read(root)
    assert len(reading.usable(datetime(2026, 1, 1, tzinfo=UTC))) == 1
    assert reading.usable(datetime(2019, 1, 1, tzinfo=UTC)) == ()
