"""The published contract: requests are judged by the OpenAPI document itself."""

from functools import cache
from typing import Any, Final

import yaml

from reconciler import schemas
from reconciler.service.http.problems import FieldError, Problem
from reconciler.service.http.wording import field_errors

NAME: Final = "platform.openapi.yaml"


@cache
def text() -> bytes:
    """The document as it is published."""
    return (schemas.folder() / NAME).read_bytes()


@cache
def document() -> dict[str, Any]:
    """The document as data; it is shared, so nobody changes it."""
    loaded: dict[str, Any] = yaml.load(text(), yaml.CSafeLoader)
    return loaded


def rooted(name: str) -> schemas.Schema:
    """A schema whose root is one of the document's."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": {"schemas": document()["components"]["schemas"]},
        "$ref": f"#/components/schemas/{name}",
    }


def errors(name: str, value: Any) -> list[FieldError]:
    """What is wrong with a value, by a schema of the document; none if it fits."""
    if _gate(name)(value):
        return []
    return field_errors(_worder(name)(value))


def judge(name: str, value: Any) -> None:
    """Raises Problem if a body does not fit a schema of the document."""
    found = errors(name, value)
    if found:
        raise invalid(found)


def invalid(errors: list[FieldError]) -> Problem:
    """The answer to a body with wrong fields."""
    first = errors[0]
    more = f", and {len(errors) - 1} more" if errors[1:] else ""
    return Problem(
        422,
        "invalid",
        f"{first.field or 'the body'} {first.message}{more}",
        "errors lists every field; /docs describes them",
        errors=errors,
    )


@cache
def _gate(name: str) -> schemas.Gate:
    return schemas.compile_gate(rooted(name))


@cache
def _worder(name: str) -> schemas.Worder:
    return schemas.compile_worder(rooted(name))
