"""Write docs/rules.md anew from the catalogue of rules."""

from pathlib import Path

from reconciler.declarations.catalogue import catalogue
from reconciler.report.rules import rules_page

PAGE = Path(__file__).resolve().parent.parent / "docs/rules.md"

if __name__ == "__main__":
    PAGE.write_text(rules_page(catalogue().values()))
