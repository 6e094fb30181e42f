"""Rules about gateways beside each other, and about what none of them uses."""

from pathlib import Path
from typing import Any

import pytest

from reconciler.declarations.declared import Declared
from reconciler.declarations.rules import (
    Used,
    check_together,
    used_by,
)
from reconciler.model import Place
from tests import certs
from tests.declared import (
    CLOUD,
    IMAP,
    POP3,
    SMTP,
    context,
    gateway,
    project,
    put,
    shown,
)


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    return project(tmp_path)


def together(root: Path, *declared: Declared, **others: Any) -> list[str]:
    return shown(check_together(declared, context(root, **others)))


def test_two_directions_of_one_mailbox_get_on(alone: Path) -> None:
    assert together(alone, gateway(IMAP, "in"), gateway(SMTP, "out")) == []


def test_a_duplicate_name_is_told_at_both_places(alone: Path) -> None:
    other = gateway(IMAP | {"user_id": "b"}, file="gateways.d/b.yaml")
    assert together(alone, gateway(IMAP), other) == [
        f"gateways.inbox: error[duplicate-gateway]: gateway 'inbox' is declared twice, also at"
        f" gateways.d/{file}.yaml:14:1\n  hint: give one of them another name, or take it away"
        for file in ("a", "b")
    ]


def test_names_that_differ_in_case(alone: Path) -> None:
    other = gateway(IMAP | {"user_id": "b"}, "Inbox")
    assert together(alone, gateway(IMAP), other, gateway(IMAP | {"user_id": "c"}, "inbox2")) == [
        (
            "gateways.Inbox: error[gateway-names-differ-in-case]: gateway 'Inbox' differs from"
            " 'inbox' at gateways.d/a.yaml:14:1 only in case\n  hint: give one of them another name"
        ),
        (
            "gateways.inbox: error[gateway-names-differ-in-case]: gateway 'inbox' differs from"
            " 'Inbox' at gateways.d/a.yaml:14:1 only in case\n  hint: give one of them another name"
        ),
    ]


def test_two_pop3_gateways_of_one_mailbox(alone: Path) -> None:
    upper = POP3 | {"host": "MAIL.example.com", "port": 1110}
    assert together(alone, gateway(POP3, "a"), gateway(upper, "b")) == [
        f"gateways.{one}.user_id: error[duplicate-pop3-mailbox]: gateways '{one}' and '{other}'"
        " fetch the same POP3 mailbox, which only one session at a time can open\n"
        "  hint: keep one of the two"
        for one, other in (("a", "b"), ("b", "a"))
    ]


def test_two_gateways_of_one_mailbox(alone: Path) -> None:
    assert together(alone, gateway(IMAP, "a"), gateway(POP3, "b")) == [
        f"gateways.{one}.user_id: warning[duplicate-mailbox]: gateways '{one}' and '{other}'"
        " fetch the same mailbox: every mail comes in twice\n  hint: keep one of the two"
        for one, other in (("a", "b"), ("b", "a"))
    ]


@pytest.mark.parametrize("other", [{"host": "b.example.com"}, {"user_id": "b"}])
def test_other_mailboxes(alone: Path, other: dict[str, Any]) -> None:
    for fields in (IMAP, POP3, SMTP):
        assert together(alone, gateway(fields, "a"), gateway({**fields, **other}, "b")) == []


def test_a_disconnected_gateway_fetches_nothing(alone: Path) -> None:
    standby = gateway(POP3 | {"state": "disconnected"}, "standby")
    assert together(alone, gateway(POP3, "a"), standby) == []


def test_two_gateways_that_send_the_same(alone: Path) -> None:
    assert together(alone, gateway(SMTP, "a"), gateway(SMTP | {"port": 2525}, "b")) == [
        f"gateways.{one}.default_email_address: warning[duplicate-sender]: gateways '{one}' and"
        f" '{other}' send from the same address through the same account\n"
        "  hint: keep one of the two"
        for one, other in (("a", "b"), ("b", "a"))
    ]
    other = SMTP | {"default_email_address": "sales@example.com"}
    assert together(alone, gateway(SMTP, "a"), gateway(other, "b")) == []


def test_three_of_a_kind_each_name_another(alone: Path) -> None:
    problems = check_together([gateway(POP3, name) for name in "abc"], context(alone))
    told = [p.message for p in problems if p.rule == "duplicate-pop3-mailbox"]
    assert [message.partition(" fetch")[0] for message in told] == [
        "gateways 'a' and 'b'",
        "gateways 'b' and 'a'",
        "gateways 'c' and 'a'",
    ]


def test_an_unused_secret(alone: Path) -> None:
    other = gateway(IMAP | {"user_password": {"secret": "another"}})
    assert together(alone, other) == [
        (
            "mailbox: warning[unused-secret]: no gateway uses the secret 'mailbox'\n"
            "  hint: take it away with sops, once nothing else reads it"
        )
    ]
    [problem] = check_together([other], context(alone))
    assert problem.place == Place("secrets/a.sops.yaml", 2)
    assert together(alone, other, elsewhere=Used(secrets=frozenset({"mailbox"}))) == []


def test_an_unreferenced_certificate(alone: Path) -> None:
    put(alone, "old", certs.ca().pem)
    assert together(alone, gateway(IMAP)) == [
        (
            ": warning[unreferenced-certificate]: no gateway uses the certificate file"
            " 'gateways.d/certs/old.pem'\n  hint: take it away, or name it in certificate_file"
        )
    ]
    used = Used(certificates=frozenset({"gateways.d/certs/old.pem"}))
    assert together(alone, gateway(IMAP), elsewhere=used) == []


def test_a_private_key_that_lies_about_is_an_error(alone: Path) -> None:
    put(alone, "server-key", certs.ca().key_pem)
    [problem] = check_together([gateway(IMAP)], context(alone))
    assert (problem.rule, problem.place.file) == (
        "certificate-private-key",
        "gateways.d/certs/server-key.pem",
    )


def test_two_files_with_the_same_certificate(alone: Path) -> None:
    issued = certs.ca()
    put(alone, "root", issued.pem)
    put(alone, "copy", issued.der, ".cer")
    copy = gateway(IMAP | {"certificate_file": "certs/copy.cer", "user_id": "b"}, "b")
    assert together(alone, gateway(IMAP), copy) == [
        f": warning[duplicate-certificate]: certificate file 'gateways.d/certs/{one}' holds the"
        f" same as 'gateways.d/certs/{other}'\n"
        "  hint: keep one of the two, so that a renewal cannot miss the other"
        for one, other in (("copy.cer", "root.pem"), ("root.pem", "copy.cer"))
    ]


def test_what_a_target_uses(alone: Path) -> None:
    assert used_by([gateway(IMAP)], CLOUD, context(alone)) == Used(
        frozenset({"mailbox", "fingerprint_key"}), frozenset({"gateways.d/certs/root.pem"})
    )


def test_gateways_that_break_the_schema_are_judged_together_too(alone: Path) -> None:
    broken = {"protocol_type": 5, "host": 7, "certificate_file": ["x"], "user_password": "plain"}
    assert [p.rule for p in check_together([gateway(broken), gateway({})], context(alone))] == [
        "duplicate-gateway",
        "duplicate-gateway",
        "unused-secret",
        "unreferenced-certificate",
    ]
