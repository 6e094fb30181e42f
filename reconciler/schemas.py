"""The JSON Schemas that this project publishes: finding, printing and judging by them.

Two libraries judge. jsonschema_rs is fast and says yes or no; jsonschema is slow and says what is
wrong, so that only what failed goes through it. Neither ever reads the network: references are
looked up in the schema itself and nowhere else. Their own messages quote what they judged, which
may be a password: nobody prints them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from reconciler.errors import WrongUsage

_SUFFIX: Final = ".schema.json"

Schema = Mapping[str, Any]
Gate = Callable[[Any], bool]
"""Whether a value fits; False as well for what JSON cannot express."""


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One thing that does not fit: `keyword` of `schema`, with its `limit`, refused `value`.

    `of_name` says that a key of the map at `path` was refused; it is the value then.
    """

    path: tuple[str | int, ...]
    keyword: str
    limit: Any
    value: Any
    schema: Schema
    of_name: bool = False


Worder = Callable[[Any], list[SchemaError]]
"""Everything that is wrong with a value."""


@cache
def folder() -> Path:
    """Where the schemas are: beside the code in a wheel, beside the package in a checkout."""
    package = Path(__file__).parent
    packaged = package / "schema"
    return packaged if packaged.is_dir() else package.parent / "schema"


def names() -> tuple[str, ...]:
    """The names by which schemas are printed, sorted."""
    return tuple(sorted(path.name.removesuffix(_SUFFIX) for path in folder().glob(f"*{_SUFFIX}")))


def text(name: str) -> str:
    """A schema as it is published.

    Raises:
        WrongUsage: there is no schema of that name.

    """
    if name not in names():
        raise WrongUsage(f"there is no schema {name!r}", "schemas: " + ", ".join(names()))
    return (folder() / f"{name}{_SUFFIX}").read_text(encoding="utf-8")


@cache
def load(name: str) -> dict[str, Any]:
    """A schema as data; it is shared, so nobody changes it."""
    loaded: dict[str, Any] = json.loads(text(name))
    return loaded


@cache
def gate(name: str, definition: str = "") -> Gate:
    """Judge by a whole schema, or by one of its definitions: yes or no, in microseconds."""
    return compile_gate(rooted(name, definition))


def compile_gate(schema: Schema) -> Gate:
    """Judge by any schema that refers to nothing outside itself."""
    import jsonschema_rs  # noqa: PLC0415

    is_valid = jsonschema_rs.Draft202012Validator(dict(schema), retriever=_refuse).is_valid

    def fits(value: Any) -> bool:
        try:
            return is_valid(value)
        except ValueError:  # a key that is no text, a lone surrogate: not JSON at all
            return False

    return fits


def rooted(name: str, definition: str = "") -> Schema:
    """A schema whose root is one of its definitions."""
    schema = load(name)
    if not definition:
        return schema
    return {
        "$schema": schema["$schema"],
        "$defs": schema["$defs"],
        "$ref": f"#/$defs/{definition}",
    }


def errors(name: str, definition: str, value: Any) -> list[SchemaError]:
    """Everything that is wrong with a value, for `messages` to put in words.

    Stricter than the gate in one thing: 465.0 is no whole number here.
    """
    return _worder(name, definition)(value)


@cache
def _worder(name: str, definition: str) -> Worder:
    return compile_worder(rooted(name, definition))


def compile_worder(schema: Schema) -> Worder:
    """Say what is wrong by any schema that refers to nothing outside itself."""
    from jsonschema import validators  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    base = validators.Draft202012Validator
    whole = base.TYPE_CHECKER.redefine("integer", lambda _checker, value: type(value) is int)
    strict = cast(Any, validators.extend)(base, type_checker=whole)
    validator = strict(schema, registry=Registry())

    def found(value: Any) -> list[SchemaError]:
        return [
            SchemaError(
                tuple(error.absolute_path),
                error.validator,
                error.validator_value,
                error.instance,
                error.schema,
                "propertyNames" in error.absolute_schema_path,
            )
            for error in validator.iter_errors(value)
        ]

    return found


def _refuse(uri: str) -> Any:
    raise LookupError(f"schemas refer to nothing outside themselves, not to {uri}")
