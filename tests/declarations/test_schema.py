"""The schema of declarations: it agrees with the model, with Python, and with both libraries."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from typing import Any, Final

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import schemas
from reconciler.declarations.catalogue import catalogue
from reconciler.declarations.catalogue.schema import RULES
from reconciler.errors import WrongUsage
from reconciler.model import (
    CONNECTION_FIELDS,
    DEFAULT_PORTS,
    EncryptionMode,
    Gateway,
    ProtocolType,
    ReceiveFrom,
    Severity,
    State,
    WhenFailed,
)

SCHEMA: Final = schemas.load("gateways")
DEFINITIONS: Final[Mapping[str, Any]] = SCHEMA["$defs"]
FIELDS: Final[Mapping[str, Any]] = DEFINITIONS["fields"]["properties"]
COMPLETE: Final = schemas.gate("gateways", "gateway")

IMAP: Final = {
    "protocol_type": "IMAP",
    "host": "mail.example.com",
    "user_id": "support@example.com",
    "user_password": {"secret": "support_mailbox"},
    "certificate_file": "certs/example-root.pem",
}
SMTP: Final = IMAP | {"protocol_type": "SMTP", "default_email_address": "support@example.com"}


def fits(definition: str, value: Any) -> bool:
    """The verdict of both libraries, which must be one."""
    quick = schemas.gate("gateways", definition)(value)
    assert quick == (not schemas.errors("gateways", definition, value))
    return quick


# -- the schemas themselves ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gateways", "project"])
def test_a_schema_is_one(name: str) -> None:
    schema = schemas.load(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith("urn:")


def test_schemas_are_found_by_name() -> None:
    assert {"gateways", "project"} <= set(schemas.names())
    assert schemas.text("gateways").startswith("{")
    with pytest.raises(WrongUsage, match="gatewys"):
        schemas.text("gatewys")


def test_a_reference_to_elsewhere_is_never_fetched() -> None:
    with pytest.raises(jsonschema_rs.ValidationError, match="nothing outside"):
        schemas.compile_gate({"$ref": "http://127.0.0.1:9/schema.json"})


def walk(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node)
    for key, child in children:
        if isinstance(child, dict | list):
            yield from walk(child, (*path, str(key)))


@pytest.mark.parametrize("name", ["gateways", "project"])
def test_no_pattern_is_fooled_by_a_trailing_line_break(name: str) -> None:
    for path, node in walk(schemas.load(name)):
        if isinstance(node, dict) and isinstance(node.get("pattern"), str):
            pattern = node["pattern"]
            assert not re.search(r"(?<!\\)\$", pattern.replace("!#$%", "")), path
            assert not re.search(r"\\[dwsDWSb](?!\\)", pattern.replace(r"[\s\S]", "")), path
            assert pattern.endswith((r"(?![\s\S])", "[{%#]")), path


@pytest.mark.parametrize("name", ["gateways", "project"])
def test_every_rule_that_a_schema_names_is_documented(name: str) -> None:
    named = {node["$comment"] for _, node in walk(schemas.load(name)) if "$comment" in node}
    assert named <= catalogue().keys()


def test_rules_of_the_schema_are_errors() -> None:
    assert {rule.severity for rule in RULES} == {Severity.ERROR}


# -- the model -----------------------------------------------------------------------------------


def test_the_fields_are_those_of_the_model() -> None:
    gateway = Gateway("x", ProtocolType.IMAP, "h", 993)
    assert set(FIELDS) == set(gateway.fields()) | {"user_password"}
    assert set(DEFINITIONS["gateway"]["properties"]) == set(FIELDS)
    assert set(FIELDS) >= CONNECTION_FIELDS


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("protocol_type", ProtocolType),
        ("encryption_mode", EncryptionMode),
        ("receive_from", ReceiveFrom),
        ("state", State),
        ("when_failed", WhenFailed),
    ],
)
def test_choices_are_those_of_the_model(field: str, kind: Any) -> None:
    assert DEFINITIONS[field]["enum"] == [choice.value for choice in kind]


def test_defaults_are_those_of_the_model() -> None:
    """`default` fills nothing in: it only tells editors what Gateway.of does."""
    made = Gateway.of("x", {"protocol_type": "IMAP", "host": "h"}, None).fields()
    told = {name: field["default"] for name, field in FIELDS.items() if "default" in field}
    assert told == {name: made[name] for name in told}
    untold = {name for name, value in made.items() if value is None} | {"port", "protocol_type"}
    assert set(made) - set(told) == untold | {"host"}


@pytest.mark.parametrize(("field", "most"), [("user_id", 500), ("default_user_name", 128)])
def test_lengths_count_characters(field: str, most: int) -> None:
    assert fits(field, "ü" * most)
    assert not fits(field, "ü" * (most + 1))


def test_lengths_of_the_design() -> None:
    lengths = {name: definition.get("maxLength") for name, definition in DEFINITIONS.items()}
    assert lengths["name"] == 64
    assert lengths["host"] == 253
    assert lengths["default_email_address"] == 254
    assert lengths["label_value"] == 63


def test_ports_that_the_description_names() -> None:
    described = FIELDS["port"]["description"]
    for port in DEFAULT_PORTS.values():
        assert str(port) in described


# -- what editors show ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_every_field_teaches(field: str) -> None:
    told = FIELDS[field]
    assert told["title"]
    assert len(told["description"]) > 80
    assert told["description"].endswith(".")
    assert told["examples"]
    for example in told["examples"]:
        assert fits(field, example)


def test_examples_of_definitions() -> None:
    for name, definition in DEFINITIONS.items():
        for example in definition.get("examples", ()):
            assert fits(name, example), name


def test_examples_of_settings() -> None:
    project = schemas.load("project")
    gate = schemas.gate("project")
    assert all(gate(example) for example in project["examples"])
    for key, setting in project["$defs"]["target"]["properties"].items():
        base = {"platform": "embedded"}
        for example in setting["examples"]:
            if key != "platform":
                assert gate({"targets": {"local": base | {key: example}}}), key


def test_the_sample_settings_know_every_key() -> None:
    example = schemas.load("project")["examples"][1]
    used = set().union(*example["targets"].values())
    told = set(schemas.load("project")["$defs"]["target"]["properties"])
    assert told - used == {"secrets", "fingerprint_key", "sops_key_services"}


# -- conditions: what is absent counts as its default --------------------------------------------


@pytest.mark.parametrize("gateway", [IMAP, SMTP])
def test_a_complete_gateway(gateway: dict[str, Any]) -> None:
    assert fits("gateway", gateway)


@pytest.mark.parametrize("mode", [None, "TLS", "STARTTLS", "NONE"])
def test_encryption_needs_a_certificate(mode: str | None) -> None:
    gateway = {key: value for key, value in IMAP.items() if key != "certificate_file"}
    chosen = gateway | ({"encryption_mode": mode} if mode else {})
    assert fits("gateway", chosen) is (mode == "NONE")


@pytest.mark.parametrize("flag", [None, True, False])
@pytest.mark.parametrize("absent", ["user_id", "user_password"])
def test_authentication_needs_credentials(flag: bool | None, absent: str) -> None:  # noqa: FBT001 - a value of the table
    gateway: dict[str, Any] = {key: value for key, value in IMAP.items() if key != absent}
    chosen = gateway | ({} if flag is None else {"authentication_flag": flag})
    assert fits("gateway", chosen) is (flag is False)


@pytest.mark.parametrize("protocol", ["SMTP", "POP3", "IMAP"])
def test_sending_needs_a_sender(protocol: str) -> None:
    assert fits("gateway", IMAP | {"protocol_type": protocol}) is (protocol != "SMTP")


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("charset", DEFINITIONS["encoding_mode"]["enum"])
def test_a_charset_makes_the_round_trip(charset: str) -> None:
    sample = next(text for text in SAMPLES if _encodable(text, charset))
    message = EmailMessage()
    message.set_content(sample + "\n", charset=charset)
    assert sample.encode(charset).decode(charset) == sample
    assert message.get_content() == sample + "\n"


# the first that a charset can write; each has letters beyond ASCII
SAMPLES: Final = (
    "客服",
    "고객",
    "Поддержка",
    "Υποστήριξη",
    "دعم",
    "תמיכה",
    "สนับสนุน",
    "Großer Ärger",
    "Başgöz",
    "ŝanĝo",
    "hỗ",
    "â",
)


def _encodable(text: str, charset: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def test_charsets_that_break_mail_are_no_choice() -> None:
    assert not {"UTF-16", "UTF-32", "UTF-7"} & set(DEFINITIONS["encoding_mode"]["enum"])


@given(st.ip_addresses(v=6) | st.ip_addresses(v=4))
def test_every_address_is_a_host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert fits("host", str(address))
    assert fits("host", address.exploded)


@given(st.text(alphabet="0123456789abcdefx:.", max_size=24))
@settings(max_examples=300)
def test_what_looks_like_an_address_is_one(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        numeric = bool(re.search(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\Z", text))
        if ":" in text or numeric:
            assert not fits("host", text)
    else:
        assert fits("host", text)


@pytest.mark.parametrize("definition", ["host", "name", "default_email_address", "user_id"])
@pytest.mark.parametrize("ending", ["\n", "\r", "\x00", "\u2028", "\x85"])
def test_no_ending_slips_through(definition: str, ending: str) -> None:
    good = {"default_email_address": "a@example.com"}.get(definition, "example")
    assert fits(definition, good)
    assert not fits(definition, good + ending)


@pytest.mark.parametrize("value", [465.0, True, "465", 0, 65536, None, [465]])
def test_ports_that_are_none(value: Any) -> None:
    assert schemas.errors("gateways", "port", value)


def test_what_is_not_json_does_not_fit() -> None:
    assert not COMPLETE({1: "x"})
    assert not COMPLETE(IMAP | {"user_id": "\ud800"})


# -- both libraries ------------------------------------------------------------------------------

TEXTS: Final = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["mail.example.com", "a@b", "certs/x.pem", "TLS", "NONE", "SMTP", "IMAP", ""]),
)
ANY: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70000),
    TEXTS,
    st.dictionaries(st.sampled_from(["secret", "value"]), TEXTS, max_size=2),
    st.lists(TEXTS, max_size=2),
)


@st.composite
def gateways(draw: st.DrawFn) -> dict[str, Any]:
    """A valid gateway with up to three fields replaced, dropped or added."""
    fields: dict[str, Any] = dict(draw(st.sampled_from([IMAP, SMTP])))
    for key in draw(st.lists(st.sampled_from([*sorted(FIELDS), "prot", "labels"]), max_size=3)):
        if draw(st.booleans()):
            fields.pop(key, None)
        else:
            examples = FIELDS.get(key, {}).get("examples", ["x"])
            fields[key] = draw(st.sampled_from(examples) | ANY)
    return fields


@given(gateways())
@settings(max_examples=400, deadline=None)
def test_both_libraries_agree(gateway: dict[str, Any]) -> None:
    fits("gateway", gateway)
    fits("file", {"gateways": {"support-in": gateway}})
    fits("file", {"defaults": gateway, "gateways": {"support-in": None}})


@given(gateways())
@settings(max_examples=100, deadline=None)
def test_a_complete_gateway_also_fits_in_a_file(gateway: dict[str, Any]) -> None:
    if fits("gateway", gateway):
        assert fits("file", {"gateways": {"support-in": gateway}})
