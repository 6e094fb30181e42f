"""docs/reference-api.md: every request of the gateway service, from its OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from reconciler import schemas
from scripts.reference.markdown import code, joined, page, slug, table, text
from scripts.reference.schemas import Reader

DOCUMENT: Final = "platform.openapi.yaml"
SCHEMAS: Final = "#/components/schemas/"
METHODS: Final = ("get", "put", "post", "delete")
INTRO: Final = """\
Every request that the service answers. [The HTTP API](api.md) is the page to read first; the
document itself is `/openapi.yaml` of a running service, and `/docs` shows it there.
"""


def api_page() -> str:
    root = yaml.safe_load((schemas.folder() / DOCUMENT).read_text())
    reader = Reader(root, _link)
    parts = [INTRO, root["info"]["description"]]
    for tag in root["tags"]:
        parts += [f"## {tag['name']}\n", text(tag.get("description", ""))]
        parts += [
            _operation(reader, path, method, found)
            for path, methods in root["paths"].items()
            for method, found in methods.items()
            if method in METHODS and tag["name"] in found["tags"]
        ]
    parts.append("## Schemas\n")
    parts += [_schema(reader, name) for name in root["components"]["schemas"]]
    return page(f"schema/{DOCUMENT}", "API reference", *parts)


def _link(reference: str) -> str:
    name = reference.removeprefix(SCHEMAS)
    return f"[{name}](#{slug(name)})" if name != reference else ""


def _operation(reader: Reader, path: str, method: str, found: Mapping[str, Any]) -> str:
    parameters = [
        reader.merged(one)
        for one in (*reader.root["paths"][path].get("parameters", ()), *found.get("parameters", ()))
    ]
    return joined(
        f"### {method.upper()} {path}\n",
        f"{found['summary']}. Role: {found['x-role']}.\n",
        f"{found.get('description', '')}\n",
        table(
            ("parameter", "in", "what it is", "type"),
            (
                (
                    code(one["name"]) + ("" if one.get("required") else " ?"),
                    one["in"],
                    text(one.get("description", "")),
                    reader.kind(one["schema"]),
                )
                for one in parameters
            ),
        ),
        _body(reader, found),
        table(("answer", "what it means", "body"), _answers(reader, found)),
    )


def _body(reader: Reader, found: Mapping[str, Any]) -> str:
    content = found.get("requestBody", {}).get("content", {})
    kinds = [f"{code(kind)}: {reader.kind(media['schema'])}" for kind, media in content.items()]
    return f"Body: {', '.join(kinds)}\n" if kinds else ""


def _answers(reader: Reader, found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for status, answer in found["responses"].items():
        whole = reader.merged(answer)
        kinds = dict.fromkeys(
            reader.kind(media["schema"])
            for media in whole.get("content", {}).values()
            if "schema" in media
        )
        yield status, text(whole.get("description", "")), " or ".join(filter(None, kinds))


def _schema(reader: Reader, name: str) -> str:
    schema = reader.at(SCHEMAS + name)
    keys = list(reader.keys(schema))
    told = reader.rows(keys) if keys else f"{reader.kind(schema)}\n".lstrip("\n")
    return f"### {name}\n\n{text(schema.get('description', ''))}\n\n{told}"
