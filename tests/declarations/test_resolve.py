"""Desired gateways: passwords, bindings, fingerprints and a digest that needs no key."""

import base64
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.declarations.declared import Declared
from reconciler.declarations.resolve import BY_CIPHERTEXT, Desired, resolve
from reconciler.declarations.secrets import SecretFiles
from reconciler.declarations.sops import writer
from reconciler.errors import SecretsUnavailable
from reconciler.model import Certificate, Fingerprint, Place, Secret, Severity, Target
from tests.declarations.sops_support import CANARY, Age

PATTERN = "secrets/*.sops.yaml"
TARGET = Target(
    "production", "embedded", Place("gateways.yaml", 3, 3), "acme", "gateways.d", (PATTERN,)
)
KEY = "the key of fingerprints"
_LABEL = "CERTIFICATE"


def certificate(*bodies: bytes) -> Certificate:
    """What counts here is the bytes between the lines, not that they are a certificate."""
    texts = [base64.b64encode(body).decode() for body in bodies]
    blocks = [f"-----BEGIN {_LABEL}-----\n{text}\n-----END {_LABEL}-----\n" for text in texts]
    return Certificate("certs/root.pem", "".join(blocks))


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True)
class File:
    """A source whose every value stands in a line of its own."""

    file: str = "gateways.d/support.yaml"

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Place:
        return Place(self.file, len(".".join(map(str, path))), 2 if key else 1)


FIELDS: dict[str, Any] = {
    "protocol_type": "IMAP",
    "host": "Mail.Example.com",
    "user_id": "support@example.com",
    "user_password": {"secret": "mailbox"},
    "certificate_file": "certs/root.pem",
}


def gateway(name: str = "support", **fields: Any) -> Declared:
    own = FIELDS | fields
    trusted = certificate(b"root") if own.get("certificate_file") else None
    return Declared(name, own, File(), frozenset(own), frozenset(), trusted)


@pytest.fixture(scope="module")
def age(tmp_path_factory: pytest.TempPathFactory) -> Age:
    return Age(tmp_path_factory.mktemp("age"))


class Project:
    """Secrets files in a folder, and gateways resolved with them."""

    def __init__(self, root: Path, age: Age) -> None:
        self._root = root
        self._age = age
        (root / "secrets").mkdir(parents=True)

    def seal(self, file: str = "a", **values: writer.Value) -> None:
        text = writer.encrypt(values, [self._age.recipient])
        (self._root / "secrets" / f"{file}.sops.yaml").write_bytes(text)

    def resolve(
        self,
        *declared: Declared,
        errors: Collection[str] = (),
        with_key: bool = True,
        keyless: bool = False,
    ) -> Desired:
        environ = self._age.environ if with_key else {"HOME": "/nonexistent"}
        secrets = SecretFiles.scan(self._root, (PATTERN,), (), environ=environ)
        assert not secrets.problems
        target = replace(TARGET, errors=frozenset(errors))
        found = resolve(declared or (gateway(),), target, secrets, keyless=keyless)
        assert CANARY not in repr(found)
        return found


@pytest.fixture
def project(tmp_path: Path, age: Age) -> Project:
    made = Project(tmp_path / "project", age)
    made.seal("keys", fingerprint_key=KEY)
    return made


def rules(desired: Desired) -> list[str]:
    return [problem.rule for problem in desired.problems]


def test_a_gateway_with_its_password_and_fingerprint(project: Project) -> None:
    project.seal(mailbox=CANARY)
    found = project.resolve()
    (one,) = found.gateways
    assert rules(found) == []
    assert found.secrets_compared
    assert one.gateway.host == "mail.example.com"
    assert one.gateway.certificate == certificate(b"root")
    assert one.place == Place("gateways.d/support.yaml", len("gateways.support"), 2)
    assert (one.secret, one.password_known) == ("mailbox", True)
    assert one.password is not None
    assert one.password.reveal() == CANARY
    assert one.fingerprint == Fingerprint.of(
        Secret(CANARY), Secret(KEY), target="production", gateway="support"
    )


def test_sorted_by_name_and_without_a_password(project: Project) -> None:
    project.seal(mailbox=CANARY)
    open_relay = gateway("a", user_password=None, user_id=None, authentication_flag=False)
    found = project.resolve(gateway("z"), gateway("m"), open_relay)
    assert [one.gateway.name for one in found.gateways] == ["a", "m", "z"]
    first = found.gateways[0]
    assert (first.secret, first.ciphertext, first.password, first.fingerprint) == (None,) * 4
    assert first.password_known


def test_without_a_key_the_digest_is_the_same(project: Project) -> None:
    project.seal(mailbox=CANARY)
    known = project.resolve()
    unknown = project.resolve(with_key=False, keyless=True)
    assert unknown.digest == known.digest
    assert not unknown.secrets_compared
    (one,) = unknown.gateways
    assert (one.password, one.fingerprint, one.password_known) == (None, None, False)
    assert one.ciphertext == known.gateways[0].ciphertext


def test_keyless_decrypts_nothing_even_with_a_key(project: Project) -> None:
    project.seal(mailbox=CANARY)
    assert project.resolve(keyless=True).gateways[0].password is None


def test_no_key_where_one_is_needed(project: Project) -> None:
    project.seal(mailbox=CANARY)
    with pytest.raises(SecretsUnavailable):
        project.resolve(with_key=False)


@pytest.mark.parametrize(
    "changed",
    [
        gateway(host="other.example.com"),
        gateway(port=1993),
        gateway("support2"),
        gateway(user_password={"secret": "second"}),
        gateway(labels={"env": "x"}),
        replace(gateway(), certificate=certificate(b"other")),
    ],
)
def test_the_digest_covers_what_is_declared(project: Project, changed: Declared) -> None:
    project.seal(mailbox="x", second="x")
    assert project.resolve(keyless=True).digest != project.resolve(changed, keyless=True).digest


def test_the_digest_covers_ciphertexts_but_not_how_it_is_written(project: Project) -> None:
    project.seal(mailbox="x")
    first = project.resolve()
    spelled_out = gateway(port=993, receive_from="now", labels={}, encoding_mode="UTF-8")
    assert (
        project.resolve(replace(spelled_out, source=File("gateways.d/b.yaml"))).digest
        == first.digest
    )
    project.seal(mailbox="x")
    assert project.resolve().digest != first.digest


def test_no_fingerprint_key(tmp_path: Path, age: Age) -> None:
    project = Project(tmp_path / "without", age)
    project.seal(mailbox=CANARY)
    for keyless in (True, False):
        found = project.resolve(keyless=keyless)
        assert rules(found) == ["no-fingerprint-key"]
        assert found.problems[0].severity is Severity.WARNING
        assert str(found.problems[0].place) == "gateways.yaml:3:3"
    assert rules(project.resolve(gateway(user_password=None))) == []


def test_without_a_fingerprint_key_ciphertexts_are_compared(tmp_path: Path, age: Age) -> None:
    project = Project(tmp_path / "without", age)

    def fingerprint(*, keyless: bool = False) -> Fingerprint | None:
        found = project.resolve(keyless=keyless)
        assert found.secrets_compared
        return found.gateways[0].fingerprint

    project.seal(mailbox="one")
    first = fingerprint()
    assert first is not None
    assert first.key_id == BY_CIPHERTEXT
    assert Fingerprint.parse(str(first)) == first
    assert fingerprint() == fingerprint(keyless=True) == first
    project.seal(mailbox="two")
    second = fingerprint()
    assert second != first
    assert fingerprint(keyless=True) == second
    project.seal("keys", fingerprint_key=KEY)
    keyed = project.resolve().gateways[0].fingerprint
    assert keyed is not None
    assert keyed.key_id != BY_CIPHERTEXT  # so it is not compared, and sent once more
    assert not project.resolve(keyless=True).secrets_compared


@pytest.mark.parametrize(("length", "weak"), [(1, True), (15, True), (16, False), (44, False)])
def test_a_short_fingerprint_key(tmp_path: Path, age: Age, length: int, *, weak: bool) -> None:
    project = Project(tmp_path / "short", age)
    project.seal(mailbox=CANARY, fingerprint_key="k" * length)
    found = project.resolve()
    assert rules(found) == (["weak-fingerprint-key"] if weak else [])
    if weak:
        (problem,) = found.problems
        assert (problem.severity, problem.place.file) == (Severity.WARNING, "secrets/a.sops.yaml")
        assert problem.path == "fingerprint_key"
        assert "kk" not in problem.message + problem.hint
    assert rules(project.resolve(keyless=True)) == []


@pytest.mark.parametrize("keyless", [True, False])
def test_the_fingerprint_key_is_never_a_password(project: Project, *, keyless: bool) -> None:
    found = project.resolve(gateway(user_password={"secret": "fingerprint_key"}), keyless=keyless)
    assert rules(found) == ["reserved-secret"]
    assert found.problems[0].severity is Severity.ERROR
    assert found.gateways[0].password is None


def test_a_secret_that_no_file_holds_is_unknown(project: Project) -> None:
    (one,) = project.resolve(gateway(user_password={"secret": "missing"})).gateways
    assert (one.secret, one.ciphertext, one.password, one.password_known) == (
        "missing",
        None,
        None,
        False,
    )


# Bindings


def bind(project: Project, *hosts: str, anchors: Sequence[str] = ()) -> None:
    project.seal(mailbox={"value": CANARY, "hosts": list(hosts), "anchors": list(anchors)})


@pytest.mark.parametrize(
    ("bound", "host", "fits"),
    [
        ("mail.example.com", "mail.example.com", True),
        ("MAIL.Example.com", "Mail.EXAMPLE.com", True),
        ("mail.example.com", "mail.example.com.", True),
        ("*.example.com", "mail.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "mail.example.com.evil.example", False),
        ("*.example.com", "mailxexample.com", False),
        ("mail.example.com", "evil.mail.example.com", False),
        ("mail.example.com", "mail-example.com", False),
        ("mail?example.com", "mail.example.com", None),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("2001:db8::2", "2001:db8::1", False),
        ("192.0.2.*", "192.0.2.7", True),
    ],
)
def test_a_bound_secret_goes_to_its_hosts_only(
    project: Project, bound: str, host: str, *, fits: bool | None
) -> None:
    bind(project, bound)
    found = project.resolve(gateway(host=host))
    expected = {True: [], False: ["secret-bound-elsewhere"], None: ["bad-binding"]}[fits]
    assert rules(found) == expected
    if fits is False:
        problem = found.problems[0]
        assert problem.severity is Severity.ERROR
        assert problem.path == "gateways.support.host"
        assert problem.place == File().place(("gateways", "support", "host"))
        said = (problem.message + problem.hint).replace(host, "")
        assert bound not in said


def test_a_bound_secret_never_goes_without_encryption(project: Project) -> None:
    bind(project, "mail.example.com", anchors=[digest(b"root")])
    for mode, expected in (
        ("TLS", []),
        ("STARTTLS", []),
        ("NONE", ["secret-bound-encrypted-only"]),
    ):
        assert rules(project.resolve(gateway(encryption_mode=mode))) == expected


@pytest.mark.parametrize(
    ("anchors", "trusted", "fits"),
    [
        ([digest(b"root")], certificate(b"root"), True),
        ([digest(b"x"), "SHA256:" + digest(b"root").upper()], certificate(b"root"), True),
        ([digest(b"root")], certificate(b"evil"), False),
        ([digest(b"root")], certificate(b"root", b"evil"), False),
        ([digest(b"root"), digest(b"more")], certificate(b"root", b"more"), True),
        ([digest(b"root")], None, False),
        ([digest(b"root")], Certificate("a", "no certificate"), False),
    ],
)
def test_a_secret_that_is_bound_to_anchors(
    project: Project, anchors: list[str], trusted: Certificate | None, *, fits: bool
) -> None:
    bind(project, "mail.example.com", anchors=anchors)
    found = project.resolve(replace(gateway(), certificate=trusted))
    assert rules(found) == ([] if fits else ["secret-bound-anchors"])


def test_bindings_cannot_be_judged_without_a_key(project: Project) -> None:
    bind(project, "other.example.com")
    assert rules(project.resolve(keyless=True)) == []


def test_unbound_secrets_are_told_of_only_where_the_target_asks(project: Project) -> None:
    project.seal(mailbox=CANARY, pinned={"value": "x", "anchors": [digest(b"root")]})
    pinned = gateway("pinned", user_password={"secret": "pinned"})
    assert rules(project.resolve(gateway(), pinned)) == []
    found = project.resolve(gateway(), pinned, errors=["unbound-secret"])
    assert rules(found) == ["unbound-secret", "unbound-secret"]
    assert {problem.severity for problem in found.problems} == {Severity.ERROR}
    bind(project, "mail.example.com")
    assert rules(project.resolve(errors=["unbound-secret"])) == []


# Values


def test_values_are_judged_and_the_target_may_make_warnings_errors(project: Project) -> None:
    project.seal(mailbox=f"{CANARY} ")
    (warning,) = project.resolve().problems
    assert (warning.rule, warning.severity) == ("password-whitespace", Severity.WARNING)
    (error,) = project.resolve(errors=["password-whitespace"]).problems
    assert error.severity is Severity.ERROR
    assert rules(project.resolve(keyless=True)) == []


def test_a_long_password_is_an_error_that_does_not_show_it(project: Project) -> None:
    project.seal(mailbox=CANARY * 10)
    found = project.resolve()
    assert rules(found) == ["password-length"]
    assert found.problems[0].severity is Severity.ERROR
