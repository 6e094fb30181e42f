"""The published contract, as it is and as a page that people read."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from reconciler.service.http import contract
from reconciler.service.http.routing import OpenRoute, Site

TEMPLATES: Final = Path(__file__).parent / "templates"
METHODS: Final = ("get", "put", "post", "delete")
_STYLE: Final = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_WORDS: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "array": "list",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object as a row of a table; `kind` is HTML with links to other schemas."""

    name: str
    kind: Markup
    required: bool
    about: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, its references followed."""

    method: str
    path: str
    data: Mapping[str, Any]
    parameters: Sequence[Mapping[str, Any]]
    responses: Mapping[str, Mapping[str, Any]]


async def openapi(_request: web.Request, _site: Site) -> web.StreamResponse:
    return web.Response(body=contract.text(), content_type="application/yaml", charset="utf-8")


async def docs(_request: web.Request, _site: Site) -> web.StreamResponse:
    text, policy = page()
    return web.Response(
        text=text, content_type="text/html", headers={"Content-Security-Policy": policy}
    )


@cache
def page() -> tuple[str, str]:
    """The page, and the policy that lets it show its own style and nothing else."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(prose=_prose, words=_phrase)
    document = contract.document()
    text = environment.get_template("docs.html.j2").render(
        document=document,
        groups=[(tag, list(_operations(document, tag["name"]))) for tag in document["tags"]],
        members=members,
        kind=kind,
    )
    style = _STYLE.search(text)
    digest = hashlib.sha256(style[1].encode() if style else b"").digest()
    allowed = f"style-src 'sha256-{base64.b64encode(digest).decode()}'"
    return text, f"default-src 'none'; {allowed}; base-uri 'none'; frame-ancestors 'none'"


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        common = item.get("parameters", [])
        for method in METHODS:
            data = item.get(method)
            if data and tag in data["tags"]:
                yield Operation(
                    method.upper(),
                    path,
                    data,
                    [_followed(document, one) for one in (*common, *data.get("parameters", ()))],
                    {code: _followed(document, one) for code, one in data["responses"].items()},
                )


def _followed(document: Mapping[str, Any], data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference leads to, or the data itself."""
    target: Any = data
    if "$ref" in data:
        target = document
        for step in data["$ref"].removeprefix("#/").split("/"):
            target = target[step]
    found: Mapping[str, Any] = target
    return found


def members(schema: Mapping[str, Any]) -> list[Member]:
    """The members that a schema names, in their order."""
    required = schema.get("required", ())
    return [
        Member(name, kind(one), name in required, one.get("description", ""))
        for name, one in schema.get("properties", {}).items()
    ]


def kind(schema: Mapping[str, Any]) -> Markup:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if "oneOf" in schema:
        return Markup(" or ").join(kind(one) for one in schema["oneOf"])
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if values:
        return Markup(", ").join(_code(one) for one in values)
    return _of_type(schema)


def _of_type(schema: Mapping[str, Any]) -> Markup:
    kinds = schema.get("type", "object")
    words = " or ".join(_WORDS[one] for one in ([kinds] if isinstance(kinds, str) else kinds))
    if "properties" in schema:
        named = Markup(", ").join(_code(name) for name in schema["properties"])
        return Markup("{} with {}").format(words, named)
    inner = schema.get("items", schema.get("additionalProperties"))
    if isinstance(inner, dict):
        return Markup("{} of {}").format(words, kind(inner))
    return escape(words + "".join(_bounds(schema)))


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    if "minimum" in schema and "maximum" in schema:
        yield f", {schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema:
        yield f", at most {schema['maxLength']} characters"
    if schema.get("default") is not None:
        yield f"; by default {str(schema['default']).lower()}"


def _code(value: Any) -> Markup:
    return Markup("<code>{}</code>").format("null" if value is None else value)


def _prose(text: str) -> Markup:
    """Paragraphs with `code` and **strong** words."""
    return Markup("").join(
        Markup("<p>{}</p>").format(_phrase(part)) for part in text.strip().split("\n\n")
    )


def _phrase(text: str) -> Markup:
    safe = str(escape(" ".join(text.split())))
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", coded))  # noqa: S704 - escaped above


ROUTES: Final = (
    OpenRoute("GET", "/openapi.yaml", openapi),
    OpenRoute("GET", "/docs", docs),
)
