"""Declared gateways for the tests of rules, and problems as one text each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.declarations.catalogue import code
from reconciler.declarations.certificates import CertificateFiles
from reconciler.declarations.declared import Declared
from reconciler.declarations.rules import Context, check_gateway
from reconciler.model import Limits, Place, Problem, Target
from tests import certs

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CLOUD = Target("production", "http", Place("gateways.yaml"), "acme", "gateways.d", ())
CONSOLE = replace(CLOUD, name="aicc", platform="runbook")
LOCAL = replace(CLOUD, name="local", platform="embedded")
FENCED = replace(CLOUD, limits=Limits(allow_hosts=("*.example.com", "mail.example.net")))

IMAP: dict[str, Any] = {
    "protocol_type": "IMAP",
    "host": "mail.example.com",
    "user_id": "support@example.com",
    "user_password": {"secret": "mailbox"},
    "certificate_file": "certs/root.pem",
}
POP3 = IMAP | {"protocol_type": "POP3"}
SMTP = IMAP | {"protocol_type": "SMTP", "default_email_address": "support@example.com"}
PLAIN = {"encryption_mode": "NONE", "certificate_file": None}
ANONYMOUS = {"authentication_flag": False, "user_id": None, "user_password": None}


@dataclass(frozen=True)
class File:
    """A source whose every value stands in its own line: the number of letters of its path."""

    file: str

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Place:
        return Place(self.file, len(".".join(map(str, path))))


@dataclass(frozen=True)
class Entry:
    place: Place


@dataclass(frozen=True)
class Secrets:
    names: Mapping[str, Entry] = field(
        default_factory=lambda: {
            name: Entry(Place("secrets/a.sops.yaml", line))
            for line, name in enumerate(("fingerprint_key", "mailbox"), start=1)
        }
    )


def project(root: Path) -> Path:
    """A folder with the one certificate that the gateways here name."""
    (root / "gateways.d/certs").mkdir(parents=True)
    put(root, "root", certs.ca().pem)
    return root


def put(root: Path, name: str, content: bytes, suffix: str = ".pem") -> str:
    """Write a certificate file; return its path as a declaration gives it."""
    (root / "gateways.d/certs" / f"{name}{suffix}").write_bytes(content)
    return f"certs/{name}{suffix}"


def gateway(
    fields: dict[str, Any],
    name: str = "inbox",
    *,
    file: str = "gateways.d/a.yaml",
    inherited: Sequence[str] = (),
) -> Declared:
    present = {key: value for key, value in fields.items() if value is not None}
    own = frozenset(present) - frozenset(inherited)
    return Declared(name, present, File(file), own, frozenset(inherited))


def context(root: Path, target: Target = CLOUD, **others: Any) -> Context:
    return replace(Context(target, CertificateFiles(root), Secrets(), NOW), **others)


def shown(problems: Iterable[Problem]) -> list[str]:
    return sorted(
        f"{p.path}: {p.severity}[{p.rule}]: {p.message}\n  hint: {p.hint}" for p in problems
    )


def found(root: Path, fields: dict[str, Any], target: Target = CLOUD) -> list[str]:
    return shown(check_gateway(gateway(fields), context(root, target)))


def expected(key: str | None, slug: str, message: str, hint: str) -> str:
    path = "gateways.inbox" + (f".{key}" if key else "")
    severity = next(rule.severity for rule in code.RULES if rule.slug == slug)
    return f"{path}: {severity}[{slug}]: {message}\n  hint: {hint}"
