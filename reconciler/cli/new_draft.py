"""What the form of `gateways new` fills in, and what the answers are judged by."""

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Self

from reconciler import schemas
from reconciler.cli.new_form import Judge
from reconciler.model import (
    DEFAULT_PORTS,
    Certificate,
    EncryptionMode,
    Gateway,
    ProtocolType,
    Secret,
    Target,
)

if TYPE_CHECKING:
    from reconciler.declarations.project import Project

_STEM: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.ASCII)
_NOT_IN_STEMS: Final = re.compile("[^a-z0-9]+")
_NOT_IN_SECRETS: Final = re.compile("[^a-z0-9_]+")
_TEMPLATE: Final = re.compile(r"\{[{%#]")
_SHORT: Final = 10
"""Letters and digits that some consoles take for a gateway's name, and no more."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a gateway connects; `certificate` is what it trusts there, `note` how it was found."""

    host: str
    port: int
    encryption: EncryptionMode
    certificate: Certificate | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """One gateway as far as it is filled in."""

    protocol: ProtocolType
    server: Server
    name: str = ""

    @property
    def sends(self) -> bool:
        return self.protocol is ProtocolType.SMTP


@dataclass(frozen=True, slots=True)
class Mailbox:
    """All answers: what is to be written."""

    address: str
    drafts: tuple[Draft, ...]
    stem: str = ""
    secret: str = ""
    user_id: str = ""
    display_name: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    password: Secret = field(default_factory=lambda: Secret(""))

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @property
    def hosts(self) -> tuple[str, ...]:
        """What the secret is bound to; nothing where a connection is not encrypted."""
        if any(one.server.encryption is EncryptionMode.NONE for one in self.drafts):
            return ()
        return tuple(dict.fromkeys(one.server.host for one in self.drafts))

    def fields(self, draft: Draft) -> dict[str, Any]:
        """The keys of a declaration, those at their defaults left out."""
        server = draft.server
        fields: dict[str, Any] = {"protocol_type": draft.protocol.value, "host": server.host}
        if server.port != DEFAULT_PORTS[draft.protocol, server.encryption]:
            fields["port"] = server.port
        if server.encryption is not EncryptionMode.TLS:
            fields["encryption_mode"] = server.encryption.value
        fields["user_id"] = self.user_id
        fields["user_password"] = {"secret": self.secret}
        if server.certificate:
            fields["certificate_file"] = server.certificate.file
        if draft.sends:
            fields["default_email_address"] = self.address
            if self.display_name:
                fields["default_user_name"] = self.display_name
        if self.labels:
            fields["labels"] = dict(self.labels)
        return fields

    def gateway(self, draft: Draft) -> Gateway:
        return Gateway.of(draft.name, self.fields(draft), draft.server.certificate)

    def with_server(self, draft: Draft, server: Server) -> "Mailbox":
        drafts = tuple(
            replace(one, server=server) if one.protocol is draft.protocol else one
            for one in self.drafts
        )
        return replace(self, drafts=drafts)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is in the project already, and may not be there twice. Names are in lower case."""

    project: "Project"
    target: Target
    names: frozenset[str]
    secrets: frozenset[str]
    errors: int

    @classmethod
    def of(cls, project: "Project", target: Target) -> Self:
        from reconciler.clock import now
        from reconciler.declarations.secrets import SecretFiles
        from reconciler.model import split_problems
        from reconciler.pipeline import judged

        loaded, verdict = judged(project, [target], now())
        names = {
            str(name).lower()
            for document in loaded.documents
            for name in document.data.get("gateways") or ()
        }
        secrets: set[str] = set()
        for one in project.targets.values():
            secrets.add(one.fingerprint_key.lower())
            found = SecretFiles.scan(project.root, one.secrets, one.sops_key_services).names
            secrets.update(name.lower() for name in found)
        errors, _ = split_problems(verdict.problems)
        # a project without declarations yet has this one, which is about to be mended
        grave = sum(one.rule not in {"no-declarations", "missing-declarations"} for one in errors)
        return cls(project, target, frozenset(names), frozenset(secrets), grave)

    def declaration(self, stem: str) -> str:
        return f"{self.target.declarations}/{stem}.yaml"

    def secrets_file(self, stem: str) -> str | None:
        """A file that the target finds secrets in; None if its patterns leave no name open."""
        for pattern in self.target.secrets:
            folder, _, name = pattern.rpartition("/")
            if name.count("*") == 1 and not any(sign in folder for sign in "*?["):
                return posixpath.join(folder, name.replace("*", stem))
        return None

    def stem_for(self, address: str) -> str:
        """A name for the files, from the local part; another one where these are there."""
        stem = _NOT_IN_STEMS.sub("-", address.partition("@")[0].lower()).strip("-")[:30].strip("-")
        return _free(stem or "mailbox", "-", lambda one: not self.stem_fault(one))

    def secret_for(self, stem: str) -> str:
        name = _NOT_IN_SECRETS.sub("_", stem).strip("_") + "_mailbox"
        return _free(name, "_", lambda one: one not in self.secrets)

    def name_for(self, stem: str, *, sends: bool) -> str:
        end = "out" if sends else "in"
        if self.target.platform != "runbook":
            return f"{stem}-{end}"
        return re.sub("[^a-z0-9]", "", stem)[: _SHORT - len(end)] + end

    def stem_fault(self, stem: str) -> str:
        if not _STEM.fullmatch(stem):
            return "1 to 40 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first"
        files = [self.declaration(stem), self.declaration(stem)[: -len("aml")] + "ml"]
        files += [file] if (file := self.secrets_file(stem)) else []
        for file in files:
            path = self.project.root / file
            if path.exists() or path.is_symlink():
                return f"{file} is there already, and nothing is overwritten"
        return ""

    def name_fault(self, name: str) -> str:
        if not schemas.gate("gateways", "name")(name):
            return "1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first"
        if name.lower() in self.names:
            return f"a gateway {name} is declared already"
        for one in self._concerned():
            allowed = one.limits.allow_names
            if allowed and not any(fnmatchcase(name, glob) for glob in allowed):
                return f"target {one.name} allows {', '.join(allowed)} only (allow_names)"
        return ""

    def host_fault(self, host: str) -> str:
        if not schemas.gate("gateways", "host")(host):
            return "a host name or an IP address, without scheme, port or spaces"
        for one in self._concerned():
            allowed = one.limits.allow_hosts
            if allowed and not any(fnmatchcase(host.lower(), glob.lower()) for glob in allowed):
                return (
                    f"target {one.name} does not allow host {host}:"
                    f" allowed are {', '.join(allowed)} (allow_hosts)"
                )
        return ""

    def _concerned(self) -> Iterator[Target]:
        """The targets that will have the gateway, with the labels that the chosen one selects."""
        labels = set(self.target.select)
        return (one for one in self.project.targets.values() if set(one.select) <= labels)


def address_fault(address: str) -> str:
    good = schemas.gate("gateways", "default_email_address")(address)
    return "" if good else "one address, such as support@example.com"


def port_fault(port: str) -> str:
    good = port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535  # noqa: PLR2004
    return "" if good else "a port is a number from 1 to 65535"


def by_schema(definition: str, *, optional: bool = False) -> Judge:
    """Judge a text as the schema does; {{ }} would stand for a variable."""
    fits = schemas.gate("gateways", definition)

    def judge(text: str) -> str:
        if optional and not text:
            return ""
        if _TEMPLATE.search(text):
            return "{{, {% and {# would be taken for a variable: write it by hand later"
        return "" if fits(text) else "too long, empty, or with characters that cannot be seen"

    return judge


def _free(name: str, joint: str, is_free: Callable[[str], bool]) -> str:
    number, tried = 2, name
    while not is_free(tried):
        tried, number = f"{name}{joint}{number}", number + 1
    return tried
