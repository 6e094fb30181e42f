"""Every rule that a user can meet, by its slug: why it exists, how to mend it, who says so.

The one place where a rule's severity is decided. A test holds it complete: a slug that code can
report and that is not here, or the other way round, fails the suite.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """`ids` are those of the list of rules; `source` names the vendor's page, if one says so."""

    slug: str
    severity: Severity
    title: str
    why: str
    mend: str
    ids: tuple[str, ...] = ()
    source: str = ""


def catalogue() -> Mapping[str, Rule]:
    """All rules, sorted by slug."""
    from reconciler.declarations.catalogue import code, files, schema, secrets  # noqa: PLC0415

    rules = (*files.RULES, *schema.RULES, *code.RULES, *secrets.RULES)
    return {rule.slug: rule for rule in sorted(rules, key=lambda rule: rule.slug)}
