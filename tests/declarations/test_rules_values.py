"""Rules that need the plain password, and that none of them shows it."""

from typing import Any

import pytest

from reconciler.cli.init import PLACEHOLDER
from reconciler.declarations.rules import (
    check_values,
)
from reconciler.model import DesiredGateway, Gateway, Place, Secret
from tests.declared import (
    CLOUD,
    IMAP,
    SMTP,
    expected,
    gateway,
    shown,
)


def desired(name: str, password: str | None, fields: dict[str, Any] = IMAP) -> DesiredGateway:
    return DesiredGateway(
        Gateway.of(name, fields, None),
        lambda: Place("gateways.d/a.yaml", 3),
        password=None if password is None else Secret(password),
    )


def judged(*gateways: DesiredGateway) -> list[str]:
    declared = [gateway(IMAP, one.gateway.name) for one in gateways]
    return shown(check_values(gateways, declared, CLOUD))


@pytest.mark.parametrize("password", ["x", "x" * 64, "pass word", "Tr0ub4dor&3", None])
def test_passwords_that_will_do(password: str | None) -> None:
    assert judged(desired("inbox", password)) == []


@pytest.mark.parametrize(
    ("password", "slug", "message", "hint"),
    [
        ("", "password-length", "the password is empty", "store it with sops"),
        (
            "x" * 65,
            "password-length",
            "the password has more than 64 characters: the console takes no more",
            "have a password of at most 64 characters set for this mailbox",
        ),
        *(
            (
                word,
                "placeholder-password",
                "the password is a word that only keeps the place of one",
                "store the mailbox's own password with sops edit",
            )
            for word in (PLACEHOLDER, "CHANGEME", "change_me", "<password>", "Secret", "example")
        ),
        *(
            (
                mask,
                "masked-password",
                "the password is what a page shows in place of one",
                "store the password itself with sops",
            )
            for mask in ("*", "********", "••••", "●●●", "...", "REDACTED", "<redacted>")
        ),
        *(
            (
                password,
                "password-control-character",
                "the password has a line break or another control character in it",
                "store it again; in YAML, a block (|) keeps every line break",
            )
            for password in ("a\nb", "a\0b", "a\r\nNOOP", "a\x7fb")
        ),
        *(
            (
                password,
                "password-whitespace",
                "the password begins or ends with white space",
                (
                    "store it again without, unless it belongs to it; in YAML, a block (|) adds a"
                    " line break"
                ),
            )
            for password in ("hunter2\n", " hunter2")
        ),
        (
            "pässword",
            "non-ascii-credentials",
            "the password has characters outside ASCII, which many mail servers do not accept",
            "have a password in plain ASCII set for this mailbox",
        ),
    ],
)
def test_password_rule(password: str, slug: str, message: str, hint: str) -> None:
    assert judged(desired("inbox", password)) == [expected("user_password", slug, message, hint)]


def test_length_counts_characters_not_bytes() -> None:
    rules = [p.rule for p in check_values([desired("a", "é" * 64)], [gateway(IMAP, "a")], CLOUD)]
    assert rules == ["non-ascii-credentials"]


def test_a_reused_password() -> None:
    other = IMAP | {"user_id": "sales@example.com"}
    assert judged(desired("a", "same"), desired("b", "same", other)) == [
        f"gateways.{one}.user_password: warning[reused-password]: gateway '{two}' logs in to"
        " another mailbox with the same password\n"
        "  hint: give every mailbox a password of its own"
        for one, two in (("a", "b"), ("b", "a"))
    ]


def test_the_two_gateways_of_one_mailbox_share_their_password() -> None:
    assert judged(desired("in", "same"), desired("out", "same", SMTP)) == []


def test_without_its_declaration_a_password_problem_stands_at_the_gateway() -> None:
    [problem] = check_values([desired("inbox", "")], [], CLOUD)
    assert problem.place == Place("gateways.d/a.yaml", 3)


def test_no_password_is_ever_shown() -> None:
    secrets = ["correct horse\nbattery", "  staple  ", "pässwörd", "y" * 70, "Tr0ub4dor&3"]
    gateways = [
        desired(f"g{number}", secret, IMAP | {"user_id": str(number % 2)})
        for number, secret in enumerate([*secrets, *secrets[1:]])
    ]
    text = "\n".join(judged(*gateways))
    assert text
    for secret in secrets:
        assert secret.strip() not in text
