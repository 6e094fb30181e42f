"""What a JSON Schema says of each key, for people."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scripts.reference.markdown import code, table, text

Schema = Mapping[str, Any]
Link = Callable[[str], str]
"""What to write for a reference that has a place of its own; "" where it is told in place."""

WORDS: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "array": "list",
    "object": "map",
    "null": "`null`",
}
LIMITS: Final = (
    ("minLength", "maxLength", "characters"),
    ("minimum", "maximum", ""),
    ("minItems", "maxItems", "entries"),
    ("minProperties", "maxProperties", "entries"),
)


@dataclass(frozen=True, slots=True)
class Key:
    """One key, with its path from the top: `a.b`, `a[].b`, `a.NAME`."""

    path: str
    kind: str
    required: bool
    schema: Schema
    comments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """A document with schemas, and which of them are described elsewhere."""

    root: Schema
    link: Link = lambda _: ""

    def at(self, reference: str) -> Schema:
        found: Any = self.root
        for step in reference.removeprefix("#").strip("/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")] if step else found
        checked: Schema = found
        return checked

    def layers(self, schema: Schema) -> list[Schema]:
        """A schema and what it refers to; of "text with a variable, or else …" the latter."""
        found = [schema]
        while True:
            last = found[-1]
            if "$ref" in last:
                found.append(self.at(last["$ref"]))
            elif "else" in last and "then" not in last:
                found.append(last["else"])
            else:
                return found

    def merged(self, schema: Schema) -> Schema:
        """All layers as one; what is nearer to the reader wins."""
        parts = reversed(self.layers(schema))
        return {name: value for part in parts for name, value in part.items()}

    def linked(self, schema: Schema) -> str:
        return next(filter(None, (self.link(layer.get("$ref", "")) for layer in [schema])), "")

    def keys(self, schema: Schema, path: str = "", above: tuple[int, ...] = ()) -> Iterator[Key]:
        """Each key below a schema, in the schema's order; each path once."""
        seen: set[str] = set()
        for key in self._keys(self.merged(schema), path, above):
            if key.path not in seen:
                seen.add(key.path)
                yield key

    def _keys(self, schema: Schema, path: str, above: tuple[int, ...]) -> Iterator[Key]:
        for name, value, required in self._children(schema):
            here = f"{path}{name}" if name == "[]" else f"{path}.{name}".removeprefix(".")
            whole = self.merged(value)
            if name != "[]":
                comments = tuple(
                    dict.fromkeys(
                        part["$comment"] for part in self.layers(value) if "$comment" in part
                    )
                )
                yield Key(here, self.kind(value), required, whole, comments)
            if not self.linked(value) and id(whole.get("properties", whole)) not in above:
                yield from self._keys(whole, here, (*above, id(whole.get("properties", whole))))

    def _children(self, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
        needed = schema.get("required", ())
        for name, value in schema.get("properties", {}).items():
            yield name, value, name in needed
        if isinstance(others := schema.get("additionalProperties"), dict) and others:
            yield "NAME", others, False
        if "items" in schema:
            yield "[]", schema["items"], False
        for other in schema.get("oneOf", ()):
            yield from self._children(self.merged(other))

    def kind(self, schema: Schema) -> str:
        """Its type with its limits."""
        if link := self.linked(schema):
            return link
        whole = self.merged(schema)
        if "const" in whole:
            return code(_json(whole["const"]))
        if "enum" in whole:
            return ", ".join(code(_json(value)) for value in whole["enum"])
        if "oneOf" in whole:
            return " or ".join(dict.fromkeys(self.kind(one) for one in whole["oneOf"]))
        types = whole.get("type", [])
        words = [self._type(whole, one) for one in ([types] if isinstance(types, str) else types)]
        return " or ".join(words) + "".join(f", {limit}" for limit in _limits(whole))

    def _type(self, schema: Schema, name: str) -> str:
        if name == "array" and "items" in schema:
            return f"list of {self.kind(schema['items']) or 'anything'}"
        if name == "object" and isinstance(others := schema.get("additionalProperties"), dict):
            return f"map of names to {self.kind(others)}" if others else "map"
        return WORDS[name]

    def rows(self, keys: Sequence[Key]) -> str:
        """A table of keys: without a question mark where it is always there."""
        return table(
            ("key", "what it is", "type", "default"),
            (
                (
                    code(key.path) + ("" if key.required else " ?"),
                    text(key.schema.get("description", "")),
                    key.kind,
                    default(key),
                )
                for key in keys
            ),
        )


def default(key: Key) -> str:
    value = key.schema.get("default")
    return "" if value is None else code(_json(value))


def examples(key: Key) -> str:
    return ", ".join(code(_json(value)) for value in key.schema.get("examples", ()))


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _limits(schema: Schema) -> Iterator[str]:
    for least, most, unit in LIMITS:
        low, high = schema.get(least), schema.get(most)
        if low is None and high is None:
            continue
        number = f"{low} to {high}" if low is not None else f"at most {high}"
        yield f"{number if high is not None else f'at least {low}'} {unit}".rstrip()
