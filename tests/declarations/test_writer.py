"""Declarations that are written read back as what they were, whatever their values hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import schemas
from reconciler.declarations.strict_yaml import parse
from reconciler.declarations.variables import Renderer, holds_template
from reconciler.declarations.writer import (
    as_data,
    as_yaml,
    certificate_paths,
    declarations_of,
    scalar,
)
from reconciler.model import (
    ActualGateway,
    Certificate,
    EncryptionMode,
    Gateway,
    ProtocolType,
    ReceiveFrom,
    State,
    Status,
    StatusState,
    WhenFailed,
)
from tests import certs

STATUS: Final = Status(StatusState.SUCCEEDED, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
ANCHOR: Final = Certificate("gateways.d/certs/root.pem", certs.ca().pem.decode())

# what the declarations accept, and what is known to be read as something else than text
AWKWARD: Final = (
    "yes", "no", "Off", "null", "~", "0777", "1_000", "12:30:45", "1e3", "2026-01-02", "-", "a: b",
    "a #b", "'", '"', "\\", "{{ x }}", "{%", "{#", "{{{", "}}", "*a", "&a", "!a", "|", ">", "%",
    "@", " a", "a ", "[", "{}", "", "=", "<<", "ü\u00a0\u3000", "🙂", "\u200b", "\ufeff",
    "::error::x",
)  # fmt: skip
TEXTS: Final = (
    st.sampled_from([text for text in AWKWARD if text])
    | st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")),
        min_size=1,
        max_size=12,
    )
    | st.text("{}%#x'\" ", min_size=1, max_size=12)
)
BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
WORDS: Final = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,11}", fullmatch=True)
# ports that belong to no protocol, so that none belongs to another
PORTS: Final = st.sampled_from([0, 1, 2525, 65_535])


@st.composite
def gateways(draw: st.DrawFn, name: str = "", host: str = "mail.example.com") -> Gateway:
    """A gateway that the declarations accept."""
    protocol = draw(st.sampled_from(ProtocolType))
    mode = draw(st.sampled_from(EncryptionMode))
    authenticates = draw(st.booleans())
    sends = protocol is ProtocolType.SMTP
    fields: dict[str, Any] = {
        "protocol_type": protocol,
        "host": host,
        "port": draw(PORTS),
        "user_id": draw(TEXTS if authenticates else st.none() | TEXTS),
        "default_email_address": "a@example.com" if sends else None,
        "default_user_name": draw(st.none() | TEXTS.filter(BIDI.isdisjoint)),
        "authentication_flag": authenticates,
        "encoding_mode": draw(st.sampled_from(["UTF-8", "GB18030"])),
        "encryption_mode": mode,
        "case_sensitivity": draw(st.booleans()),
        "receive_from": draw(st.sampled_from(ReceiveFrom)),
        "state": draw(st.sampled_from(State)),
        "when_failed": draw(st.sampled_from(WhenFailed)),
        "protect": draw(st.booleans()),
        "labels": draw(st.dictionaries(WORDS, st.just("") | TEXTS, max_size=3)),
    }
    certificate = None if mode is EncryptionMode.NONE else ANCHOR
    return Gateway.of(name or draw(WORDS), fields, certificate)


def on_the_platform(gateway: Gateway, *, has_password: bool = True) -> ActualGateway:
    return ActualGateway(gateway, STATUS, "1", "ours", has_password=has_password)


def read_back(text: str) -> Any:
    return parse(text.encode(), "mail.yaml")


@given(st.sampled_from(AWKWARD) | TEXTS)
def test_every_text_comes_back(text: str) -> None:
    assert read_back(f"a: {scalar(text)}\n") == {"a": text}
    assert read_back(f"{scalar(text)}: 1\n") == {text: 1}


@given(gateway=gateways(), has_password=st.booleans())
def test_every_gateway_comes_back(gateway: Gateway, *, has_password: bool) -> None:
    paths = {ANCHOR.digest: "certs/root.pem"}
    declared = declarations_of([on_the_platform(gateway, has_password=has_password)], paths)
    data = read_back(as_yaml(declared, ["A heading."]))
    assert data == as_data(declared)
    assert not list(schemas.errors("gateways", "", data))
    fields = data["gateways"][gateway.name]
    renderer = Renderer("local", {})
    rendered = {
        key: renderer.render(value) if isinstance(value, str) and holds_template(value) else value
        for key, value in fields.items()
    }
    if "labels" in fields:
        rendered["labels"] = {
            key: renderer.render(value) if holds_template(value) else value
            for key, value in fields["labels"].items()
        }
    anchor = ANCHOR if "certificate_file" in fields else None
    assert Gateway.of(gateway.name, rendered, anchor) == gateway
    assert ("user_password" in fields) is (has_password or gateway.authentication_flag)


def test_what_is_at_its_default_is_left_out() -> None:
    gateway = Gateway(
        "support", ProtocolType.IMAP, "mail.example.com", 993, "me", certificate=ANCHOR
    )
    declared = declarations_of([on_the_platform(gateway)], {ANCHOR.digest: "certs/root.pem"})
    assert as_yaml(declared) == (
        "gateways:\n"
        "  support:\n"
        "    protocol_type: IMAP\n"
        "    host: mail.example.com\n"
        "    user_id: me\n"
        "    user_password: {secret: support}\n"
        "    certificate_file: certs/root.pem\n"
    )
    moved = replace(gateway, port=994, labels=(("env", "test"), ("a", "0")))
    text = as_yaml(declarations_of([on_the_platform(moved)], {ANCHOR.digest: "certs/root.pem"}))
    assert "    port: 994\n" in text
    assert '    labels: {a: "0", env: test}\n' in text


def test_nothing_is_a_document_too() -> None:
    assert read_back(as_yaml([], ["A heading."])) == {"gateways": {}}


def test_each_gateway_has_a_secret_of_its_own() -> None:
    names = ("a.b", "a-b", "a_b", "fingerprint_key")
    some = [
        on_the_platform(Gateway(name, ProtocolType.IMAP, "mail.example.com", 993)) for name in names
    ]
    declared = declarations_of(some, {}, "fingerprint_key")
    assert [one.secret for one in declared] == ["a_b", "a_b_2", "a_b_3", "fingerprint_key_2"]


def test_a_password_that_is_not_there_is_told() -> None:
    gateway = Gateway("a", ProtocolType.IMAP, "mail.example.com", 993, "me")
    text = as_yaml(declarations_of([on_the_platform(gateway, has_password=False)], {}))
    assert "  # the platform has no password of this gateway\n  a:\n" in text


@pytest.mark.parametrize(
    ("file", "folder", "path"),
    [
        ("gateways.d/certs/root.pem", "gateways.d", "certs/root.pem"),
        ("gateways.d/root.crt", "gateways.d", "root.crt"),
        ("gateways.d/certs/root.pem", None, "certs/root.pem"),
        ("elsewhere/root.cer", "gateways.d", "certs/root.cer"),
        ("gateways.d/../../root.pem", "gateways.d", "certs/certificate.pem"),
        ("/etc/ssl/root.pem", "gateways.d", "certs/root.pem"),
        ("../..", None, "certs/certificate.pem"),
        (".pem", None, "certs/certificate.pem"),
        ("a\n.pem", None, "certs/certificate.pem"),
        ("root.key", None, "certs/certificate.pem"),
        ("x" * 300 + ".pem", None, "certs/certificate.pem"),
    ],
)
def test_certificates_have_paths_that_lead_nowhere_else(
    file: str, folder: str | None, path: str
) -> None:
    one = Certificate(file, "PEM")
    assert certificate_paths([one], folder) == {one.digest: path}


def test_no_two_certificates_have_one_path() -> None:
    some = [Certificate("a/root.pem", "1"), Certificate("b/ROOT.pem", "2")]
    paths = certificate_paths([*some, Certificate("c/root.pem", "1")])
    assert len(paths) == len({path.lower() for path in paths.values()}) == 2
    assert all(Path(path).suffix == ".pem" for path in paths.values())
