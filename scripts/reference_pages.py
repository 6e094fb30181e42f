"""Write the pages of docs/ that are made from the program, its schemas and its rules."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from reconciler.declarations.catalogue import catalogue
from reconciler.report.rules import rules_page
from scripts.reference.api import api_page
from scripts.reference.commands import commands_page
from scripts.reference.declarations import declarations_page, settings_page
from scripts.reference.outputs import outputs_page

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "commands.md": commands_page,
    "reference-api.md": api_page,
    "reference-declarations.md": declarations_page,
    "reference-json.md": outputs_page,
    "reference-settings.md": settings_page,
    "rules.md": lambda: rules_page(catalogue().values()),
}

if __name__ == "__main__":
    for name, made in PAGES.items():
        (DOCS / name).write_text(made())
