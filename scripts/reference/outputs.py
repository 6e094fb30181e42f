"""docs/reference-json.md: what commands print and write as JSON, from the schemas."""

from typing import Final

from reconciler import schemas
from scripts.reference.markdown import block, joined, page, text
from scripts.reference.schemas import Reader, Schema

DECLARED: Final = ("gateways", "project")  # pages of their own
INTRO: Final = """\
What commands print with `--format json`, and what they keep in files. Each has a published schema,
which `gateways schema NAME` prints and which a test holds to the program. A minor version of a
format adds keys, a major one changes them: ignore keys that you do not know.

`a.b` is the key `b` of the map `a`, `a[]` an entry of the list `a`, `NAME` any name. A question
mark says that the key may be absent.
"""


def outputs_page() -> str:
    names = [name for name in schemas.names() if name not in DECLARED]
    contents = "".join(f"- [{_title(name)}](#{name})\n" for name in names)
    return page("schema/", "JSON formats", INTRO, contents, *map(_section, names))


def _title(name: str) -> str:
    return text(schemas.load(name).get("title", name))


def _section(name: str) -> str:
    root = schemas.load(name)
    reader = Reader(root)
    parts = [f"## {name}\n", f"**{_title(name)}.** {text(root.get('description', ''))}".rstrip()]
    parts.append(block(f"gateways schema {name}", "sh"))
    whole = reader.merged(root)
    if "oneOf" in whole and "properties" not in whole:
        parts += [_alternative(reader, name, one) for one in whole["oneOf"]]
    else:
        parts.append(reader.rows(list(reader.keys(root))))
    return joined(*parts)


def _alternative(reader: Reader, name: str, schema: Schema) -> str:
    kinds = (
        value["const"] for value in reader.merged(schema)["properties"].values() if "const" in value
    )
    heading = next(kinds, reader.merged(schema).get("title", name))
    return f"### {name}: {heading}\n\n{reader.rows(list(reader.keys(schema)))}"
