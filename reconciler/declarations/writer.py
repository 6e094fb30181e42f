"""Gateways to declarations: what a platform has, as the YAML that would have made it.

No password is ever at hand here: where one belongs, a name stands for it. What is written reads
back as what it was, whatever the values hold; fields at their defaults are left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.declarations.certificates import SUFFIXES
from reconciler.declarations.yaml_scalars import resolve
from reconciler.model import (
    CERTIFICATE_FIELD,
    DEFAULT_PORTS,
    PASSWORD_FIELD,
    ActualGateway,
    Certificate,
    Gateway,
)

CERTIFICATES: Final = "certs"
"""The folder beside the declarations for certificates whose own path is of no use here."""

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.@/+-]*(?: [A-Za-z0-9_.@/+-]+)*")
# what Python calls printable, and what shows as nothing at all
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_OPENS: Final = re.compile(r"\{(?=[{%#])")
_BRACE: Final = "{{ a_brace | default('{') }}"
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_LONGEST_PATH: Final = 200
_NOT_IN_NAMES: Final = re.compile("[^a-z0-9_]")


@dataclass(frozen=True, slots=True)
class Declaration:
    """One gateway as it would be declared; `secret` is the name that stands for its password."""

    name: str
    fields: Mapping[str, Any]
    secret: str | None
    notes: tuple[str, ...] = ()


def declarations_of(
    gateways: Sequence[ActualGateway], paths: Mapping[str, str], reserved: str = ""
) -> tuple[Declaration, ...]:
    """The declarations that describe `gateways`; `paths` are their certificates' by digest.

    `reserved` is a name that no secret may have.
    """
    names = _secret_names(gateways, reserved)
    return tuple(_declaration(one, names[one.gateway.name], paths) for one in gateways)


def certificate_paths(
    certificates: Sequence[Certificate], folder: str | None = None
) -> dict[str, str]:
    """A path for each certificate, by digest, relative to the file that declares it.

    With `folder`, where the declarations are, it is the one that it was declared with, if that is
    below it and no other certificate has it.
    """
    paths: dict[str, str] = {}
    taken: set[str] = set()
    for one in sorted(certificates, key=lambda one: (one.file, one.digest)):
        if one.digest in paths:
            continue
        path = _own_path(one.file, folder)
        if path.lower() in taken:  # some file systems cannot tell A from a
            stem, _, suffix = path.rpartition(".")
            path = f"{stem}-{one.digest.removeprefix('sha256:')[:12]}.{suffix}"
        taken.add(path.lower())
        paths[one.digest] = path
    return paths


def as_data(declarations: Sequence[Declaration]) -> dict[str, Any]:
    """A file of declarations as data."""
    return {"gateways": {one.name: dict(one.fields) for one in declarations}}


def as_yaml(declarations: Sequence[Declaration], heading: Sequence[str] = ()) -> str:
    """A file of declarations; `heading` and notes are comments, in words of ours."""
    return "\n".join(_lines(declarations, heading)) + "\n"


def scalar(value: Any) -> str:
    """A value as it stands in YAML: quoted wherever some reader might take it for another."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and resolve(text) == text:
        return text
    escaped = "".join(map(_escaped, text))
    # a CI job's runner would obey ##[...] wherever it stands in a line
    return '"' + escaped.replace("##", "#\\u0023") + '"'


def _lines(declarations: Sequence[Declaration], heading: Sequence[str]) -> Iterator[str]:
    yield from (f"# {text}" for text in heading)
    if not declarations:
        yield "gateways: {}"
        return
    yield "gateways:"
    for one in declarations:
        yield from (f"  # {note}" for note in one.notes)
        yield f"  {scalar(one.name)}:"
        for key, value in one.fields.items():
            yield f"    {key}: {_inline(value)}"


def _inline(value: Any) -> str:
    if not isinstance(value, dict):
        return scalar(value)
    return "{" + ", ".join(f"{scalar(key)}: {scalar(inner)}" for key, inner in value.items()) + "}"


def _declaration(actual: ActualGateway, secret: str, paths: Mapping[str, str]) -> Declaration:
    gateway = actual.gateway
    needs_password = actual.has_password or gateway.authentication_flag
    fields: dict[str, Any] = {}
    for key, value in _not_default(gateway).items():
        if key == CERTIFICATE_FIELD:
            fields[key] = paths[str(value)]
        else:
            fields[key] = _literal(value)
        if key == "user_id" and needs_password:
            fields[PASSWORD_FIELD] = {"secret": secret}
    if needs_password:
        fields.setdefault(PASSWORD_FIELD, {"secret": secret})
    notes = []
    if needs_password and not actual.has_password:
        notes.append("the platform has no password of this gateway")
    return Declaration(gateway.name, fields, secret if needs_password else None, tuple(notes))


def _not_default(gateway: Gateway) -> dict[str, Any]:
    bare = Gateway(
        gateway.name,
        gateway.protocol_type,
        gateway.host,
        DEFAULT_PORTS[gateway.protocol_type, gateway.encryption_mode],
    ).fields()
    always = {"protocol_type", "host"}
    return {
        key: value for key, value in gateway.fields().items() if key in always or value != bare[key]
    }


def _literal(value: Any) -> Any:
    """The same value, such that nothing in it is taken for a variable."""
    if isinstance(value, dict):
        return {key: _literal(value[key]) for key in sorted(value)}
    return _OPENS.sub(_BRACE, value) if isinstance(value, str) else value


def _secret_names(gateways: Sequence[ActualGateway], reserved: str) -> dict[str, str]:
    """One for each gateway: whether two have the same password, nobody can tell."""
    names: dict[str, str] = {}
    taken = {reserved}
    for one in gateways:
        stem = _NOT_IN_NAMES.sub("_", one.gateway.name.lower())
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name)
        names[one.gateway.name] = name
    return names


def _own_path(file: str, folder: str | None) -> str:
    """Never one that leads elsewhere: whoever wrote to the platform chose it."""
    path = f"{CERTIFICATES}/{file.rpartition('/')[2]}"
    if folder and file.startswith(f"{folder}/"):
        path = file.removeprefix(f"{folder}/")
    fits = _PATH.fullmatch(path) and path.endswith(SUFFIXES) and len(path) <= _LONGEST_PATH
    return path if fits else f"{CERTIFICATES}/certificate.pem"


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable() and character not in _UNSEEN:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - of four digits
