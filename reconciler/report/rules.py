"""The page of rules, written from the catalogue: docs/rules.md."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from reconciler.model import Severity


class Described(Protocol):
    """A rule as the catalogue describes it."""

    @property
    def slug(self) -> str: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def title(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def mend(self) -> str: ...
    @property
    def ids(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> str: ...


_HEAD: Final = """\
<!-- Written by scripts/rules_page.py from reconciler/declarations/catalogue/: edit there. -->

# Rules

Every problem that `gateways validate` and `gateways plan` can report carries the name of its rule.
An **error** stops everything; a **warning** is shown and lets you go on. A target may turn named
warnings into errors:

```yaml
targets:
  production:
    errors: [plaintext-connection, unbound-secret]
```
"""


def rules_page(rules: Iterable[Described]) -> str:
    """The whole page as Markdown, sorted by slug: the same rules give the same bytes."""
    ordered = sorted(rules, key=lambda rule: rule.slug)
    return "\n".join((_HEAD, _contents(ordered), *map(_section, ordered)))


def _contents(rules: Sequence[Described]) -> str:
    rows = (f"| [`{rule.slug}`](#{rule.slug}) | {rule.severity} | {rule.title} |" for rule in rules)
    return "\n".join(("| rule | severity | what |", "|---|---|---|", *rows, ""))


def _section(rule: Described) -> str:
    about = [f"**{rule.severity}**", *([", ".join(rule.ids)] if rule.ids else [])]
    source = f"\n\nSource: the vendor's user guide, {rule.source}" if rule.source else ""
    return (
        f"## {rule.slug}\n\n{rule.title}. ({' · '.join(about)})\n\n{rule.why}\n\n"
        f"How to mend it: {rule.mend}{source}\n"
    )
