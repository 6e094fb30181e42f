"""What is wrong with a field, in words that never quote what stands in it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.schemas import SchemaError
from reconciler.service.http.problems import FieldError

_MOST_LISTED: Final = 40
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_KINDS: Final = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_RULES: Final = {
    "bad-host": "must be a host name or an IP address, without scheme, port or space",
    "bad-address": "must be one address, such as support@example.com",
    "bad-certificate-path": "must be a relative path without '..' that ends in .pem, .crt or .cer",
    "bad-characters": "holds a control character",
    "bad-label": "has a name or a value that no label can have",
    "bad-name": "must be letters, digits, '.', '_' and '-', the first a letter or digit",
}


def field_errors(errors: Iterable[SchemaError], at: str = "") -> list[FieldError]:
    """One error for each field, the first that was found; `at` is where the value stands."""
    found: dict[str, str] = {}
    for error in errors:
        for field, message in _told(error, at):
            found.setdefault(field, message)
    return [
        FieldError(field, message)
        for field, message in sorted(found.items() or {at: "is no text that can be stored"}.items())
    ]


def _told(error: SchemaError, at: str) -> Iterator[tuple[str, str]]:
    path = [at] if at else []
    path += [step if _PLAIN.fullmatch(step) else "*" for step in map(str, error.path)]
    match error.keyword:
        case "required":
            for name in error.limit:
                if name not in error.value:
                    yield ".".join([*path, name]), "is missing"
        case "additionalProperties":
            known = error.schema.get("properties", {})
            for name in sorted(set(error.value) - set(known)):
                shown = name if _PLAIN.fullmatch(name) else "*"
                yield ".".join([*path, shown]), "is not known here"
        case _:
            yield ".".join(path), _KEYWORDS.get(error.keyword, _other)(error.limit, error.schema)


def _type(limit: Any, _schema: Mapping[str, Any]) -> str:
    kinds = [limit] if isinstance(limit, str) else limit
    return "must be " + " or ".join(_KINDS[kind] for kind in kinds)


def _enum(limit: Any, _schema: Mapping[str, Any]) -> str:
    return "must be one of " + ", ".join(map(str, limit[:_MOST_LISTED]))


def _const(limit: Any, _schema: Mapping[str, Any]) -> str:
    return f"must be {limit}"


def _pattern(_limit: Any, schema: Mapping[str, Any]) -> str:
    return _RULES.get(schema.get("$comment", ""), "is not written as it must be")


def _longest(limit: Any, _schema: Mapping[str, Any]) -> str:
    return f"has more than {limit} characters"


def _shortest(_limit: Any, _schema: Mapping[str, Any]) -> str:
    return "is empty"


def _smallest(limit: Any, _schema: Mapping[str, Any]) -> str:
    return f"must be {limit} or more"


def _largest(limit: Any, _schema: Mapping[str, Any]) -> str:
    return f"must be {limit} or less"


def _most(limit: Any, _schema: Mapping[str, Any]) -> str:
    return f"has more than {limit} entries"


def _fewest(limit: Any, _schema: Mapping[str, Any]) -> str:
    return f"has fewer than {limit} entries"


def _other(_limit: Any, _schema: Mapping[str, Any]) -> str:
    return "does not fit"


_KEYWORDS: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], str]]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "maxLength": _longest,
    "minLength": _shortest,
    "minimum": _smallest,
    "maximum": _largest,
    "maxItems": _most,
    "minItems": _fewest,
    "maxProperties": _most,
    "minProperties": _fewest,
}
