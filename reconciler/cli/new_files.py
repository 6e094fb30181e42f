"""The files that `gateways new` writes: all of them, or none."""

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import scaffold
from reconciler.cli.new_anchor import Anchors
from reconciler.cli.new_draft import Draft, Mailbox, Surroundings
from reconciler.errors import GatewaysError, InvalidInput
from reconciler.model import DEFAULT_PORTS, EncryptionMode

if TYPE_CHECKING:
    from reconciler.declarations.sops.sealing import Sealer
    from reconciler.report.problems import Judgement

_SCHEMA: Final = "schema/gateways.schema.json"
_SHARED: Final = (
    *("host", "encryption_mode", "user_id", "user_password", "certificate_file"),
    "labels",
)
_COLUMN: Final = 46  # where comments begin, if the value leaves room


@dataclass(frozen=True, slots=True)
class Draftsman:
    """Turns a mailbox into the text of its files, by their path in the project."""

    around: Surroundings
    anchors: Anchors

    def declaration(self, mailbox: Mailbox) -> str:
        """The declarations, as they would be written by hand."""
        return "\n".join(self._lines(mailbox)) + "\n"

    def files(self, mailbox: Mailbox, sealer: "Sealer") -> dict[str, bytes]:
        """Every file that is to be made. Raises SecretsUnavailable, InvalidInput."""
        folder = self.around.target.declarations
        wanted = {one.server.certificate for one in mailbox.drafts}
        files = {
            f"{folder}/{one.file}": one.pem.encode()
            for one in wanted
            if one and one.file in self.anchors.made
        }
        secrets = self.secrets_file(mailbox)
        files[secrets] = sealer.seal(secrets, mailbox.secret, mailbox.password, mailbox.hosts)
        files[self.around.declaration(mailbox.stem)] = self.declaration(mailbox).encode()
        return files

    def secrets_file(self, mailbox: Mailbox) -> str:
        """Raises InvalidInput: the target would not look for a file of any such name."""
        file = self.around.secrets_file(mailbox.stem or "new")
        if file is None:
            raise InvalidInput(
                f"target {self.around.target.name} has no pattern in secrets that a file of any"
                " name fits",
                "such as gateways.d/secrets/*.sops.yaml",
            )
        return file

    def _lines(self, mailbox: Mailbox) -> Iterator[str]:
        declarations = self.around.target.declarations
        if (self.around.project.root / _SCHEMA).is_file():
            schema = posixpath.relpath(_SCHEMA, declarations)
            yield f"# yaml-language-server: $schema={schema}"
        yield f"# The mailbox {mailbox.address}: {_purpose(mailbox)}."
        each = {one.name: mailbox.fields(one) for one in mailbox.drafts}
        shared = _shared(list(each.values()))
        secrets = posixpath.relpath(self.secrets_file(mailbox), declarations)
        comments = {
            "user_password": f"in {secrets}, never the password",
            "certificate_file": "the only root that is trusted for it",
        }
        if shared:
            yield _line("defaults:", "every gateway of this file has these")
            yield from _fields(shared, "  ", comments)
        yield "gateways:"
        for draft in mailbox.drafts:
            own = {key: value for key, value in each[draft.name].items() if key not in shared}
            yield f"  {_scalar(draft.name)}:"
            yield from _fields(own, "    ", {**comments, "protocol_type": _usual_port(draft)})


@dataclass
class Written:
    """What was made, so that it can be taken back."""

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def take_back(self) -> None:
        for path in self.files:
            with suppress(OSError):
                path.unlink()
        for folder in sorted(self.folders, key=lambda one: len(one.parts), reverse=True):
            with suppress(OSError):  # somebody else has put something there
                folder.rmdir()


def write(root: Path, files: Mapping[str, bytes]) -> Written:
    """Make every file, none of which may be there; on any failure none of them stays.

    Raises:
        GatewaysError: one is there, or cannot be written.

    """
    written = Written()
    for name, data in files.items():
        path = root / name
        written.folders += [one for one in path.parents if not one.exists()]
        try:
            scaffold.write_new(path, data)
        except BaseException as error:
            written.take_back()
            if isinstance(error, OSError):
                why = f"{name} cannot be written: {error.strerror}; nothing was written"
                raise GatewaysError(why) from None
            raise
        written.files.append(path)
    return written


def judge(around: Surroundings) -> "Judgement":
    """The whole project, as `gateways validate` judges it."""
    from reconciler.clock import now
    from reconciler.pipeline import judged
    from reconciler.report.problems import Judgement

    project = around.project
    loaded, verdict = judged(project, [*project.targets.values()], now())
    names = {one.name for some in verdict.declared.values() for one in some}
    return Judgement(verdict.problems, loaded.files, len(names))


def _shared(fields: list[dict[str, Any]]) -> dict[str, Any]:
    """What is the same in all of several gateways."""
    if len(fields) == 1:
        return {}
    first = fields[0]
    return {
        key: first[key]
        for key in _SHARED
        if key in first and all(one.get(key) == first[key] for one in fields)
    }


def _fields(fields: Mapping[str, Any], indent: str, comments: Mapping[str, str]) -> Iterator[str]:
    for key, value in fields.items():
        yield _line(f"{indent}{key}: {_value(value)}", comments.get(key, ""))


def _line(text: str, comment: str) -> str:
    return f"{text:<{_COLUMN}}# {comment}" if comment else text


def _value(value: Any) -> str:
    if not isinstance(value, dict):
        return _scalar(value)
    return "{" + ", ".join(f"{_scalar(key)}: {_scalar(one)}" for key, one in value.items()) + "}"


def _scalar(value: Any) -> str:
    from reconciler.declarations.writer import scalar

    return scalar(value)


def _purpose(mailbox: Mailbox) -> str:
    if len(mailbox.drafts) > 1:
        return "one gateway sends from it, one reads it"
    return "a gateway sends from it" if mailbox.drafts[0].sends else "a gateway reads it"


def _usual_port(draft: Draft) -> str:
    encryption = draft.server.encryption
    usual = DEFAULT_PORTS[draft.protocol, encryption]
    if draft.server.port != usual:
        return ""
    by = "in clear" if encryption is EncryptionMode.NONE else f"with {encryption}"
    return f"port {usual} {by}, unless port says otherwise"
