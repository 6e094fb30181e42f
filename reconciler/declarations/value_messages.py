"""What is wrong with a value, by the keyword of the schema that refused it.

A value is quoted only where it cannot be a password: this is never asked about those.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from reconciler.declarations import wording
from reconciler.declarations.wording import nearest, quote
from reconciler.declarations.yaml_faults import printable
from reconciler.schemas import SchemaError

Path = tuple[str | int, ...]
Words3 = tuple[str, str, str]
"""A rule, a message and a hint."""

KEY_HINTS: Final = {
    "bad-name": "write 1 to 64 ASCII letters, digits, '.', '_' and '-', first a letter or digit",
    "bad-label": "write letters, digits, '.', '_', '/' and '-', first a letter or digit",
    "bad-variable-name": "write letters, digits and '_', first no digit, and no word of Jinja2",
}


def about_value(error: SchemaError) -> Words3:
    """The rule that a value breaks, with message and hint."""
    return _KEYWORDS.get(error.keyword, _other)(error, subject(error.path))


def subject(path: Path) -> str:
    """What a message calls the value at a path: the field, without the gateway that it is in."""
    match path:
        case ():
            return "the file"
        case ("gateways", name):
            return f"gateway {quote(str(name))}"
        case ("targets", name):
            return f"target {quote(str(name))}"
        case ("gateways" | "targets", _, *field) | ("defaults", *field) if field:
            pass
        case _:
            field = list(path)
    *outer, last = (str(step) for step in field)
    if isinstance(field[-1], int):
        return f"entry {int(last) + 1} of {'.'.join(outer)}"
    return ".".join((*outer, printable(last)))


def _wrong_type(error: SchemaError, what: str) -> Words3:
    allowed = error.limit
    kinds = [allowed] if isinstance(allowed, str) else [kind for kind in allowed if kind != "null"]
    kind = kinds[0]
    value = error.value
    expected = _KINDS[kind]
    if kind == "integer" and "maximum" in error.schema:
        expected += f" from {error.schema['minimum']} to {error.schema['maximum']}"
    hint = _type_hint(kind, value)
    if kind in _CONTAINERS:
        shown = "text" if isinstance(value, str) else _described(value)  # it may be a password
        hint = _container_hint(kind, error.path)
    else:
        shown = _described(value)
    return "wrong-type", f"{what} must be {expected}, not {shown}", hint


_KINDS: Final = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "a map",
    "array": "a list",
}


def _described(value: Any) -> str:
    """A value for a message. A container is not shown: who knows what is in it."""
    match value:
        case None:
            return "empty"
        case bool():
            return f"the word {str(value).lower()}"
        case int() | float():
            return f"the number {printable(str(value))}"
        case str():
            return f'the text "{printable(value)}"'
        case list():
            return "a list"
        case _:
            return "a map"


_TRUE: Final = {"true": "true", "yes": "true", "on": "true"}
_BOOLEANS: Final = _TRUE | {"false": "false", "no": "false", "off": "false"}


def _type_hint(kind: str, value: Any) -> str:
    if isinstance(value, str) and "{{" in value:
        return "a variable makes text, so it can stand only where text can"
    if kind == "boolean" and str(value).lower() in _BOOLEANS:
        return f"write {_BOOLEANS[str(value).lower()]} without quotes"
    if kind == "integer" and str(value).removesuffix(".0").isdecimal():
        return f"write {str(value).removesuffix('.0')} without quotes or a decimal point"
    if kind == "string" and isinstance(value, bool | int | float):
        return "put it in quotes"
    return ""


_CONTAINERS: Final = ("object", "array")


def _container_hint(kind: str, path: Path) -> str:
    match path:
        case ("gateways", _):
            return "a gateway is a name with its fields below it, indented by two more spaces"
        case _:
            example = "key: value" if kind == "object" else "- entry"
            return f"write each entry on a line of its own: {example}"


def _not_in_list(error: SchemaError, what: str) -> Words3:
    allowed = tuple(str(value) for value in error.limit)
    meant = nearest(str(error.value), allowed)
    guess = f"; did you mean {quote(meant)}?" if meant else ""
    shown = allowed
    if meant and len(allowed) > _MANY:
        shown = (meant, *(value for value in allowed if value != meant))[:_MANY]
    more = f" and {len(allowed) - len(shown)} more" if len(shown) < len(allowed) else ""
    message = f"{what} cannot be {quote(str(error.value))}{guess}"
    return "not-in-list", message, "one of " + ", ".join(shown) + more


_MANY: Final = 8


def _length(error: SchemaError, what: str) -> Words3:
    if error.keyword == "minLength":
        return error.schema.get("$comment", "bad-value"), f"{what} is empty", "delete it or fill it"
    size = len(error.value)
    return "too-long", f"{what} has {size} characters", f"at most {error.limit}"


def _range(error: SchemaError, what: str) -> Words3:
    low, high = error.schema["minimum"], error.schema["maximum"]
    message = f"{what} must be from {low} to {high}, not {printable(str(error.value))}"
    if error.schema.get("$comment") != "bad-port":
        return "bad-value", message, ""
    hint = "usual ports: SMTP 465, IMAP 993, POP3 995 with TLS; leave the key out for these"
    return "bad-port", message, hint


def _pattern(error: SchemaError, what: str) -> Words3:
    rule = error.schema.get("$comment", "bad-value")
    said, hint = _PATTERNS.get(rule, _unfitting)(error.value)
    return rule, f"{what} {said}", hint


def _unfitting(text: str) -> wording.Words:
    return f"cannot be {quote(text)}", ""


def _characters(text: str) -> wording.Words:
    return f"holds {wording.character(text)}", "delete this character"


def _name(text: str) -> wording.Words:
    return f"cannot be {quote(text)}", KEY_HINTS["bad-name"]


def _secret_name(_text: str) -> wording.Words:
    return "is not the name of a secret", KEY_HINTS["bad-name"]  # not quoted: it may be the secret


def _path(text: str) -> wording.Words:
    said, hint = wording.path(text)
    return said or f"cannot be {quote(text)}", hint


def _host_pattern(text: str) -> wording.Words:
    return f"cannot be {quote(text)}", "write a host name, an address, *.example.com, or * for all"


def _name_pattern(text: str) -> wording.Words:
    return f"cannot be {quote(text)}", "write a gateway's name, where * stands for any characters"


def _moment(text: str) -> wording.Words:
    return f"cannot be {quote(text)}", "write it with its offset from UTC: 2026-12-20T18:00:00Z"


def _week(text: str) -> wording.Words:
    return f"cannot be {quote(text)}", "write two days and times: Fri 18:00 - Mon 06:00"


def _timezone(text: str) -> wording.Words:
    return f"cannot be {quote(text)}", "write a name of the IANA database, such as Europe/Berlin"


def _url(_text: str) -> wording.Words:
    hint = "write https://HOST or https://HOST:PORT; http is for localhost only"
    return "is not the origin of a service", hint  # not quoted: a login may stand in it


_PATTERNS: Final[Mapping[str, Callable[[str], wording.Words]]] = {
    "bad-host": wording.host,
    "bad-host-pattern": _host_pattern,
    "bad-name-pattern": _name_pattern,
    "bad-moment": _moment,
    "bad-week": _week,
    "bad-timezone": _timezone,
    "bad-address": wording.address,
    "bad-certificate-path": wording.certificate_path,
    "bad-characters": _characters,
    "bad-label": _characters,
    "bad-name": _name,
    "bad-secret-name": _secret_name,
    "bad-path": _path,
    "bad-url": _url,
}


def _other(error: SchemaError, what: str) -> Words3:
    if error.keyword == "minProperties":
        return "missing-key", f"{what} is empty", "add at least one"
    return "bad-value", f"{what} is not valid", ""


_KEYWORDS: Final[Mapping[str, Callable[[SchemaError, str], Words3]]] = {
    "type": _wrong_type,
    "enum": _not_in_list,
    "pattern": _pattern,
    "minLength": _length,
    "maxLength": _length,
    "minimum": _range,
    "maximum": _range,
}
