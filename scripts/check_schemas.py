"""Tell whether each published schema is itself a valid schema of draft 2020-12."""

import json
import sys
from pathlib import Path
from typing import Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

SCHEMAS: Final = Path(__file__).resolve().parent.parent / "schema"
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def fault(path: Path) -> str | None:
    """What is wrong with one schema, or None."""
    try:
        schema = json.loads(path.read_bytes())
    except ValueError as error:
        return f"{path}: not JSON: {error}"
    if not isinstance(schema, dict) or schema.get("$schema") != DRAFT:
        return f"{path}: $schema is not {DRAFT}"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"{path}: {error.json_path}: {error.message}"
    return None


def main() -> int:
    found = [text for path in sorted(SCHEMAS.glob("*.json")) if (text := fault(path))]
    for text in found:
        print(text)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
