"""Rules about certificate files, on real certificates."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.declarations.rules import (
    check_gateway,
)
from tests import certs
from tests.declared import (
    IMAP,
    NOW,
    PLAIN,
    context,
    expected,
    found,
    gateway,
    project,
    put,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("project"))


@dataclass(frozen=True)
class Anchor:
    """What stands in a certificate file, and the one problem that it draws, if any."""

    slug: str
    content: bytes
    message: str = ""
    hint: str = ""
    suffix: str = ".pem"
    host: str = "mail.example.com"


def days(count: int) -> datetime:
    return NOW + timedelta(days=count)


ROOT = certs.ca("Anchors' root")
NEXT = certs.ca("Next root", start=days(10))
PAST = certs.ca("Past root", end=days(-1))
RENEW = "get the current root certificate of the mail server's operator"
LEAF = (
    "the certificate in 'gateways.d/certs/{}' is a server's own: the gateway fails when the server"
    " renews it"
)

ANCHORS = [
    Anchor("", ROOT.pem),
    Anchor("", ROOT.der, suffix=".cer"),
    Anchor("", ROOT.pem, suffix=".crt"),
    Anchor("", certs.ca("Sub", issuer=ROOT).pem),
    Anchor("", certs.ca("Last day", end=days(31)).pem),
    Anchor("", certs.ca("First day", start=NOW).pem),
    Anchor("", certs.ca("Ends", end=days(5)).pem + ROOT.pem),
    Anchor("", ROOT.pem + NEXT.pem),
    Anchor("", certs.leaf(None).pem),
    Anchor("", certs.leaf(ROOT).pem + ROOT.pem, host="other.example.com"),
    Anchor(
        "certificate-expired",
        PAST.pem,
        "the certificate in 'gateways.d/certs/{}' expired on 2026-05-31",
        RENEW,
    ),
    Anchor(
        "certificate-not-yet-valid",
        NEXT.pem,
        "the certificate in 'gateways.d/certs/{}' is valid only from 2026-06-11 on",
        "keep today's root certificate in the file too",
    ),
    Anchor(
        "certificate-not-yet-valid",
        PAST.pem + NEXT.pem,
        "the certificate in 'gateways.d/certs/{}' is valid only from 2026-06-11 on",
        "keep today's root certificate in the file too",
    ),
    Anchor(
        "certificate-expires-soon",
        certs.ca("Soon", end=days(30)).pem,
        "the certificate in 'gateways.d/certs/{}' expires on 2026-07-01, within 30 days",
        "add its successor to the file now; both may stand in it until the change is over",
    ),
    Anchor(
        "expired-certificate-in-bundle",
        PAST.pem + ROOT.pem,
        "1 of 2 certificates in 'gateways.d/certs/{}' expired",
        "take what has expired out of the file",
    ),
    Anchor(
        "leaf-certificate",
        certs.leaf(ROOT).pem,
        LEAF,
        "use the root certificate that issued it",
    ),
    Anchor(
        "leaf-name-mismatch",
        certs.leaf(None, ["mx1.example.net", "*.example.net"], ["192.0.2.7"]).pem,
        "the certificate in 'gateways.d/certs/{}' is for '*.example.net', '192.0.2.7',"
        " 'mx1.example.net', not for host 'mail.example.com'",
        "use the root certificate of this host's server, or correct the host",
    ),
    Anchor(
        "weak-certificate",
        certs.ca("Small", key=certs.small_key()).pem,
        "the certificate in 'gateways.d/certs/{}' has an RSA key of 1024 bits, which current TLS"
        " libraries refuse",
        "have the mail server's operator issue a stronger one, RSA 2048 with SHA-256 at least",
    ),
    Anchor(
        "certificate-extension",
        ROOT.der,
        "the certificate in 'gateways.d/certs/{}' holds binary DER, and its name ends in .pem",
        "rename it to .cer, or convert it: openssl x509 -inform der -in FILE -out NEW.pem",
    ),
    Anchor(
        "certificate-private-key",
        ROOT.pem + ROOT.key_pem,
        "certificate file 'gateways.d/certs/{}' holds a private key",
        "remove the file, have the key replaced since git remembers it, and commit the certificate"
        " alone",
    ),
    Anchor(
        "certificate-unreadable",
        b"hello",
        "certificate file 'gateways.d/certs/{}' is neither PEM nor DER",
        "export it again, as Base64 (PEM) or as binary DER",
    ),
]


@pytest.mark.parametrize("number", range(len(ANCHORS)))
def test_certificate_rule(root: Path, number: int) -> None:
    anchor = ANCHORS[number]
    path = put(root, f"anchor{number}", anchor.content, anchor.suffix)
    fields = IMAP | {"certificate_file": path, "host": anchor.host}
    name = path.removeprefix("certs/")
    wanted = [
        expected("certificate_file", anchor.slug, anchor.message.format(name), anchor.hint)
        for _ in [anchor.slug]
        if anchor.slug
    ]
    assert found(root, fields) == wanted


def test_a_broken_signature_on_a_leaf_is_weak(root: Path) -> None:
    path = put(root, "md5", certs.broken_signature(certs.rsa_key(), "md5"), ".cer")
    rules = [
        p.rule for p in check_gateway(gateway(IMAP | {"certificate_file": path}), context(root))
    ]
    assert rules == ["leaf-certificate", "weak-certificate"]


def test_a_missing_certificate(tmp_path: Path) -> None:
    assert found(tmp_path, IMAP | {"certificate_file": "certs/none.pem"}) == [
        expected(
            "certificate_file",
            "certificate-missing",
            "certificate file 'gateways.d/certs/none.pem' does not exist",
            "the path is relative to this file",
        )
    ]


def test_a_certificate_outside_the_project(root: Path) -> None:
    (root / "gateways.d/certs/out.pem").symlink_to("/etc/hostname")
    assert found(root, IMAP | {"certificate_file": "certs/out.pem"}) == [
        expected(
            "certificate_file",
            "certificate-outside-project",
            "certificate file 'gateways.d/certs/out.pem' is not inside the project",
            "copy it into the project, for instance to certs/ beside the declarations",
        )
    ]


def test_a_private_key_is_an_error_without_encryption_too(root: Path) -> None:
    path = put(root, "key", ROOT.key_pem)
    problems = check_gateway(gateway(IMAP | PLAIN | {"certificate_file": path}), context(root))
    assert "certificate-private-key" in {problem.rule for problem in problems}


@pytest.mark.parametrize(
    ("names", "ips", "host", "fits"),
    [
        (["mail.example.com"], [], "MAIL.example.com", True),
        (["*.example.com"], [], "mail.example.com", True),
        (["*.example.com"], [], "a.mail.example.com", False),
        (["*.example.com"], [], "example.com", False),
        (["*.com"], [], "example.com", False),
        (["m*.example.com"], [], "mail.example.com", False),
        (["192.0.2.1"], [], "192.0.2.1", False),
        ([], ["192.0.2.1"], "192.0.2.1", True),
        ([], ["2001:db8::1"], "2001:DB8:0::1", True),
        ([], ["192.0.2.1"], "192.0.2.2", False),
    ],
)
def test_names_match_as_in_tls(
    root: Path, names: list[str], ips: list[str], host: str, *, fits: bool
) -> None:
    path = put(root, "names", certs.leaf(None, names, ips).pem)
    fields = IMAP | {"certificate_file": path, "host": host}
    rules = {problem.rule for problem in check_gateway(gateway(fields), context(root))}
    assert ("leaf-name-mismatch" not in rules) is fits


def test_a_shared_certificate_is_judged_once_and_told_everywhere(root: Path) -> None:
    path = put(root, "shared", PAST.pem)
    shared = context(root)
    for name in ("a", "b"):
        problems = check_gateway(gateway(IMAP | {"certificate_file": path}, name), shared)
        assert [problem.rule for problem in problems] == ["certificate-expired"]
