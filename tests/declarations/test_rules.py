"""Every rule of one gateway: what triggers it, with its exact text, and what does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.declarations.rules import (
    check_gateway,
)
from reconciler.model import Target
from tests.declared import (
    ANONYMOUS,
    CLOUD,
    CONSOLE,
    FENCED,
    IMAP,
    LOCAL,
    PLAIN,
    POP3,
    SMTP,
    context,
    expected,
    found,
    gateway,
    project,
    shown,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("project"))


PLAINTEXT_CONNECTION = expected(
    "encryption_mode",
    "plaintext-connection",
    "encryption_mode NONE sends every mail readable over the network",
    "write encryption_mode: TLS (port 993) and name the certificate_file",
)
NO_AUTHENTICATION = expected(
    "authentication_flag",
    "no-authentication",
    "authentication_flag false sends mail without logging in",
    "write authentication_flag: true with user_id and user_password, unless the server accepts"
    " this platform by its address alone",
)


@pytest.mark.parametrize("fields", [IMAP, POP3, SMTP])
@pytest.mark.parametrize("target", [CLOUD, LOCAL, FENCED])
def test_a_sound_gateway_has_no_problem(root: Path, fields: dict[str, Any], target: Target) -> None:
    assert found(root, fields, target) == []


@dataclass(frozen=True)
class Case:
    """`broken` draws exactly `problems`; `sound`, its neighbour, draws none of their rules."""

    broken: dict[str, Any]
    problems: Sequence[str]
    sound: dict[str, Any]
    target: Target = CLOUD

    def __str__(self) -> str:
        return self.problems[-1].partition("[")[2].partition("]")[0]


CASES = [
    Case(
        IMAP | {"host": "Mail.Evil.test"},
        [
            expected(
                "host",
                "host-not-allowed",
                "host 'mail.evil.test' is not among those that target 'production' allows",
                "allowed are *.example.com, mail.example.net; the list is allow_hosts in"
                " gateways.yaml",
            )
        ],
        IMAP | {"host": "MAIL.example.NET"},
        FENCED,
    ),
    Case(
        IMAP | {"host": "mail.internal"},
        [
            expected(
                "host",
                "private-host",
                "host 'mail.internal' can be reached from its own network only",
                "give the mail server's public name, or make sure that the platform of target"
                " 'production' is in that network",
            )
        ],
        IMAP | {"host": "mail.internal.example.com"},
    ),
    Case(
        IMAP | {"host": "8.8.8.8"},
        [
            expected(
                "host",
                "ip-host-with-tls",
                "host is an IP address: TLS works only if the server's certificate lists that"
                " address",
                "give the host name that the certificate was issued for",
            )
        ],
        IMAP | {"host": "8.8.8.8.example.com"},
    ),
    Case(
        IMAP | PLAIN | ANONYMOUS | {"host": "127.0.0.1"},
        [
            expected(
                "authentication_flag",
                "no-authentication-receiving",
                "authentication_flag false: hardly any IMAP server opens a mailbox without a login",
                "write authentication_flag: true with user_id and user_password",
            ),
            PLAINTEXT_CONNECTION,
        ],
        IMAP,
        LOCAL,
    ),
    Case(
        IMAP | PLAIN,
        [
            PLAINTEXT_CONNECTION,
            expected(
                "encryption_mode",
                "plaintext-password",
                "encryption_mode NONE sends the password readable over the network",
                "write encryption_mode: TLS (port 993); then change the password if it was ever"
                " used this way",
            ),
        ],
        IMAP | {"encryption_mode": "TLS"},
    ),
    Case(
        IMAP | {"encryption_mode": "STARTTLS"},
        [
            expected(
                "encryption_mode",
                "starttls-connection",
                "encryption_mode STARTTLS begins in the clear, where an attacker on the way can"
                " interfere",
                "write encryption_mode: TLS (port 993) if the server offers it",
            )
        ],
        IMAP | {"encryption_mode": "TLS"},
    ),
    Case(
        SMTP | {"port": 587},
        [
            expected(
                "port",
                "port-encryption-clash",
                "port 587 does not begin with TLS, and encryption_mode is TLS",
                "SMTP with TLS is on port 465; port 587 goes with encryption_mode: STARTTLS",
            )
        ],
        SMTP | {"port": 465},
    ),
    Case(
        POP3 | {"port": 995, "encryption_mode": "STARTTLS"},
        [
            expected(
                "encryption_mode",
                "starttls-connection",
                "encryption_mode STARTTLS begins in the clear, where an attacker on the way can"
                " interfere",
                "write encryption_mode: TLS (port 995) if the server offers it",
            ),
            expected(
                "port",
                "port-encryption-clash",
                "port 995 expects TLS from the first byte, and encryption_mode is STARTTLS",
                "POP3 with STARTTLS is on port 110; port 995 goes with encryption_mode: TLS",
            ),
        ],
        POP3 | {"port": 995},
    ),
    Case(
        IMAP | {"port": 110},
        [
            expected(
                "port",
                "port-of-other-protocol",
                "port 110 is where POP3 listens, and protocol_type is IMAP",
                "IMAP with TLS is on port 993",
            )
        ],
        IMAP | {"port": 10110},
    ),
    Case(
        POP3 | {"port": 993},
        [
            expected(
                "port",
                "port-and-encryption-of-other-protocol",
                "port 993 is where IMAP listens, and protocol_type is POP3",
                "POP3 with TLS is on port 995",
            )
        ],
        POP3 | {"port": 995},
    ),
    Case(SMTP | ANONYMOUS, [NO_AUTHENTICATION], SMTP | {"authentication_flag": True}),
    Case(
        SMTP | {"authentication_flag": False},
        [
            NO_AUTHENTICATION,
            expected(
                "user_id",
                "unused-credentials",
                "user_id and user_password have no effect while authentication_flag is false",
                "write authentication_flag: true, or take user_id and user_password away",
            ),
        ],
        SMTP,
    ),
    Case(
        SMTP | {"authentication_flag": False, "user_id": None},
        [
            NO_AUTHENTICATION,
            expected(
                "user_password",
                "unused-credentials",
                "user_password has no effect while authentication_flag is false",
                "write authentication_flag: true, or take user_password away",
            ),
        ],
        SMTP,
    ),
    Case(
        IMAP | {"host": "outlook.office365.com"},
        [
            expected(
                "host",
                "password-login-refused-by-provider",
                "Microsoft has ended logins with an account's password, or is about to",
                "use the console's own M365 gateways for this mailbox, or a mail server that takes"
                " passwords",
            )
        ],
        IMAP | {"host": "notoutlook.example"},
    ),
    Case(
        IMAP | {"host": "imap.gmail.com"},
        [
            expected(
                "host",
                "password-login-refused-by-provider",
                "Google has ended logins with an account's password, or is about to",
                "turn on 2-step verification and store an app password, or use a mail server that"
                " takes passwords",
            )
        ],
        IMAP | {"host": "imap.gmail.com.example.org"},
    ),
    Case(
        IMAP | {"user_password": {"secret": "mailbxo"}},
        [
            expected(
                "user_password",
                "missing-secret",
                "no secrets file of target 'production' holds a secret named 'mailbxo'",
                "did you mean 'mailbox'?",
            )
        ],
        IMAP,
    ),
    Case(
        IMAP | {"user_password": {"secret": "zzz"}},
        [
            expected(
                "user_password",
                "missing-secret",
                "no secrets file of target 'production' holds a secret named 'zzz'",
                "add it with sops to one of the secrets files",
            )
        ],
        IMAP,
    ),
    Case(
        IMAP | {"user_id": "jürgen"},
        [
            expected(
                "user_id",
                "non-ascii-credentials",
                "user_id has characters outside ASCII, which many mail servers do not accept in a"
                " login",
                "ask the mail server's operator for a login name in plain ASCII",
            )
        ],
        IMAP | {"user_id": "DOMAIN\\juergen"},
    ),
    Case(
        IMAP | PLAIN | {"host": "localhost", "certificate_file": "certs/root.pem"},
        [
            expected(
                "certificate_file",
                "unused-certificate",
                "certificate_file has no effect while encryption_mode is NONE",
                "write encryption_mode: TLS, or take certificate_file away",
            ),
            PLAINTEXT_CONNECTION,
        ],
        IMAP,
        LOCAL,
    ),
    Case(
        IMAP | {"default_email_address": "a@example.com", "default_user_name": "Support"},
        [
            expected(
                "default_email_address",
                "field-without-effect",
                "default_email_address and default_user_name have no effect on IMAP: only sending"
                " (SMTP) uses them",
                "take default_email_address and default_user_name away",
            )
        ],
        SMTP | {"default_user_name": "Support"},
    ),
    Case(
        SMTP | {"case_sensitivity": True},
        [
            expected(
                "case_sensitivity",
                "field-without-effect",
                "case_sensitivity has no effect on SMTP: only receiving (IMAP, POP3) uses it",
                "take case_sensitivity away",
            )
        ],
        SMTP | {"case_sensitivity": False},
    ),
    Case(
        SMTP | {"receive_from": "all"},
        [
            expected(
                "receive_from",
                "field-without-effect",
                "receive_from has no effect on SMTP: only receiving (IMAP, POP3) uses it",
                "take receive_from away",
            )
        ],
        IMAP | {"receive_from": "all"},
    ),
    Case(
        IMAP | {"case_sensitivity": True},
        [
            expected(
                "case_sensitivity",
                "case-sensitive-senders",
                "case_sensitivity true makes Ann@example.com and ann@example.com two senders",
                "write case_sensitivity: false, or leave it out",
            )
        ],
        IMAP | {"case_sensitivity": False},
    ),
    Case(
        SMTP | {"encoding_mode": "ISO-8859-1", "default_user_name": "Support 客服"},
        [
            expected(
                "default_user_name",
                "unencodable-sender-name",
                "default_user_name holds '客', which ISO-8859-1 cannot write",
                "write encoding_mode: UTF-8, or leave it out",
            ),
            expected(
                "encoding_mode",
                "non-utf8-encoding",
                "encoding_mode ISO-8859-1 cannot write every language that customers use",
                "write encoding_mode: UTF-8, or leave it out, unless a recipient is known to need"
                " this",
            ),
        ],
        SMTP | {"encoding_mode": "UTF-8", "default_user_name": "Support 客服"},
    ),
    Case(
        SMTP | {"default_email_address": "sales@example.com"},
        [
            expected(
                "default_email_address",
                "sender-differs-from-login",
                "default_email_address 'sales@example.com' is not the mailbox that logs in,"
                " 'support@example.com': the server may refuse it as a sender",
                "use the login's own address, or have the server's operator allow this sender",
            )
        ],
        SMTP | {"default_email_address": "Support@Example.com"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule(root: Path, case: Case) -> None:
    assert found(root, case.broken, case.target) == sorted(case.problems)
    slugs = {problem.partition("[")[2].partition("]")[0] for problem in case.problems}
    sound = gateway(case.sound)
    neighbours = {problem.rule for problem in check_gateway(sound, context(root, case.target))}
    assert not slugs & neighbours


def test_a_name_that_fits_the_encoding_is_no_error(root: Path) -> None:
    fields = SMTP | {"encoding_mode": "GB18030", "default_user_name": "客服"}
    assert [problem.rule for problem in check_gateway(gateway(fields), context(root))] == [
        "non-utf8-encoding"
    ]


def test_a_login_that_is_no_address_may_send_from_any(root: Path) -> None:
    assert found(root, SMTP | {"user_id": "EXAMPLE\\support"}) == []


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "a.localhost",
        "10.1.2.3",
        "127.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "printer.local",
    ],
)
def test_private_hosts(root: Path, host: str) -> None:
    fields = IMAP | PLAIN | {"host": host}
    for target, wanted in ((CLOUD, True), (CONSOLE, True), (LOCAL, False)):
        rules = {p.rule for p in check_gateway(gateway(fields), context(root, target))}
        assert ("private-host" in rules) is wanted


@pytest.mark.parametrize("host", ["mail.example.com", "1.1.1.1", "2606:4700::1111", "163.com"])
def test_public_hosts(root: Path, host: str) -> None:
    rules = {p.rule for p in check_gateway(gateway(IMAP | {"host": host}), context(root))}
    assert "private-host" not in rules


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_a_password_may_cross_the_machine_itself(root: Path, host: str) -> None:
    fields = IMAP | PLAIN | {"host": host}
    rules = {p.rule for p in check_gateway(gateway(fields), context(root, LOCAL))}
    assert rules == {"plaintext-connection"}


@pytest.mark.parametrize(
    ("protocol", "encryption", "ports"),
    [
        ("SMTP", "NONE", {25, 587}),
        ("SMTP", "STARTTLS", {25, 587}),
        ("SMTP", "TLS", {465}),
        ("POP3", "NONE", {110}),
        ("POP3", "STARTTLS", {110}),
        ("POP3", "TLS", {995}),
        ("IMAP", "NONE", {143}),
        ("IMAP", "STARTTLS", {143}),
        ("IMAP", "TLS", {993}),
    ],
)
def test_well_known_ports(root: Path, protocol: str, encryption: str, ports: set[int]) -> None:
    quiet = set()
    for port in (25, 110, 143, 465, 587, 993, 995, 2525):
        fields = IMAP | {"protocol_type": protocol, "encryption_mode": encryption, "port": port}
        problems = check_gateway(gateway(fields), context(root))
        if not any(problem.rule.startswith("port-") for problem in problems):
            quiet.add(port)
    assert quiet == ports | {2525}


def test_a_long_name_matters_on_a_console_only(root: Path) -> None:
    declared = gateway(IMAP, "support-inbox")
    assert shown(check_gateway(declared, context(root, CONSOLE))) == [
        (
            "gateways.support-inbox: warning[long-name]: gateway name 'support-inbox' is not"
            " at most 10 letters and digits: some consoles refuse it\n"
            "  hint: use at most 10 letters and digits, for instance 'supportinb'"
        )
    ]
    assert shown(check_gateway(declared, context(root))) == []
    assert shown(check_gateway(gateway(IMAP, "support123"), context(root, CONSOLE))) == []


def test_defaults_serve_both_directions(root: Path) -> None:
    """What a file's defaults give draws no warning at the one gateway that does not need it."""
    inbox = gateway(SMTP | {"protocol_type": "IMAP"}, inherited=["default_email_address"])
    relay = gateway(
        SMTP | PLAIN | {"authentication_flag": False, "certificate_file": "certs/root.pem"},
        inherited=["user_id", "user_password", "certificate_file"],
    )
    assert shown(check_gateway(inbox, context(root))) == []
    assert {p.rule for p in check_gateway(relay, context(root))} == {
        "no-authentication",
        "plaintext-connection",
    }


def test_a_contradiction_within_the_defaults_is_told(root: Path) -> None:
    declared = gateway(
        SMTP | {"authentication_flag": False},
        inherited=["authentication_flag", "user_id", "user_password"],
    )
    problems = shown(check_gateway(declared, context(root)))
    assert any(text.startswith("defaults.user_id: warning[unused-cred") for text in problems)


def test_a_missing_secret_points_at_the_name(root: Path) -> None:
    declared = gateway(IMAP | {"user_password": {"secret": "zzz"}})
    [problem] = check_gateway(declared, context(root))
    assert problem.place.line == len("gateways.inbox.user_password.secret")
    assert problem.path == "gateways.inbox.user_password"
