"""The table of providers: what it says fits its schema, and who it is about is found."""

import json
from importlib.resources import files

import pytest
import yaml
from jsonschema import Draft202012Validator

from reconciler import schemas
from reconciler.discovery.providers import TABLE, of_domain, of_mx, providers
from reconciler.model import DEFAULT_PORTS, EncryptionMode, ProtocolType

FOLDER = files("reconciler.discovery")


def test_the_table_fits_its_schema() -> None:
    schema = json.loads((FOLDER / "providers.schema.json").read_text("utf-8"))
    table = yaml.safe_load((FOLDER / TABLE).read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(table)
    assert 15 <= len(table) == len(providers())


def test_every_server_is_one_that_a_declaration_may_name() -> None:
    """And every port is the usual one of its protocol and encryption."""
    for provider in providers():
        for protocol, server in provider.servers.items():
            assert schemas.gate("gateways", "host")(server.host)
            assert server.port == DEFAULT_PORTS[protocol, server.encryption], provider.name
            assert server.encryption is not EncryptionMode.NONE


def test_nobody_stands_in_it_twice() -> None:
    for names in (
        [one.name for one in providers()],
        [domain for one in providers() for domain in one.domains],
        [suffix for one in providers() for suffix in one.mx],
    ):
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("domain", "imap"),
    [
        ("gmail.com", "imap.gmail.com"),
        ("web.de", "imap.web.de"),
        ("icloud.com", "imap.mail.me.com"),
    ],
)
def test_by_domain(domain: str, imap: str) -> None:
    provider = of_domain(domain)
    assert provider
    proposals = provider.findings("its domain").of(ProtocolType.IMAP)
    assert [one.place for one in proposals] == [(imap, 993, EncryptionMode.TLS)]
    assert "known by its domain" in proposals[0].source


@pytest.mark.parametrize(
    ("mx", "name"),
    [
        (["aspmx.l.google.com", "alt1.aspmx.l.google.com"], "Gmail and Google Workspace"),
        (["acme-com.mail.protection.outlook.com"], "Microsoft 365"),
        (["mx.acme.test", "in1-smtp.messagingengine.com"], "Fastmail"),
        (["notgoogle.com"], None),
        (["google.com.evil.test"], None),
        ([], None),
    ],
)
def test_by_mx(mx: list[str], name: str | None) -> None:
    """A suffix is one of whole labels."""
    found = of_mx(mx)
    assert (found.name if found else None) == name


def test_what_a_provider_does_not_have_is_said() -> None:
    provider = of_domain("icloud.com")
    assert provider
    findings = provider.findings("its domain")
    assert findings.absent == {ProtocolType.POP3}
    assert findings.lacks(tuple(ProtocolType)) == ()
    assert "app-specific password" in findings.notes[0]
