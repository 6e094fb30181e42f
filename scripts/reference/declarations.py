"""docs/reference-declarations.md and docs/reference-settings.md, from the schemas."""

import json
from collections.abc import Sequence
from typing import Final

from reconciler import schemas
from reconciler.declarations.catalogue import catalogue
from scripts.reference.markdown import block, joined, page, text
from scripts.reference.schemas import Key, Reader, default, examples

INTRO: Final = """\
Every key that a file of `gateways.d` may have, as the schema says it: `gateways schema gateways`
prints that. [Declare gateways](declarations.md) is the page to read first.
"""
SETTINGS: Final = """\
Every key that `gateways.yaml` may have, as the schema says it: `gateways schema project` prints
that. [Settings](declarations.md#settings-gatewaysyaml) is the page to read first.
"""


def declarations_page() -> str:
    reader = Reader(
        schemas.load("gateways"),
        lambda reference: "[a gateway](#a-gateway)" if reference == "#/$defs/fields" else "",
    )
    file, fields = reader.at("#/$defs/file"), reader.at("#/$defs/fields")
    return page(
        "schema/gateways.schema.json",
        "Keys of a declaration",
        INTRO,
        "## A file\n",
        text(file["description"]),
        reader.rows(list(reader.keys(file))),
        _example(file["examples"]),
        "## A gateway\n",
        "The key of the map is the **Gateway Name**. "
        + text(reader.at("#/$defs/name")["description"]),
        *(_section(key, labelled="." not in key.path) for key in reader.keys(fields)),
    )


def settings_page() -> str:
    reader = Reader(
        schemas.load("project"),
        lambda reference: "[a target](#a-target)" if reference == "#/$defs/target" else "",
    )
    return page(
        "schema/project.schema.json",
        "Keys of gateways.yaml",
        SETTINGS,
        "## The file\n",
        *map(_section, reader.keys(reader.root)),
        "## A target\n",
        *map(_section, reader.keys(reader.at("#/$defs/target"))),
        "## Examples\n",
        _example(reader.root["examples"]),
    )


def _section(key: Key, *, labelled: bool = False) -> str:
    """One key: what it is, then its facts; `labelled` where the console has a label for it."""
    rules = [rule for rule in key.comments if rule in catalogue()]
    facts = [
        ("console label", text(key.schema.get("title", "")) if labelled else ""),
        ("type", key.kind),
        ("required", "yes" if key.required else ""),
        ("default", default(key)),
        ("examples", examples(key)),
        ("rule", ", ".join(f"[`{rule}`](rules.md#{rule})" for rule in rules)),
    ]
    listed = "".join(f"- {name}: {fact}\n" for name, fact in facts if fact)
    return f"### {key.path}\n\n{text(key.schema.get('description', ''))}\n\n{listed}"


def _example(found: Sequence[object]) -> str:
    return joined(*(block(json.dumps(one, indent=2), "json") for one in found))
