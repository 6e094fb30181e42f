"""The part of the forges' expression languages that our workflows use, and nothing more.

What is not known here is an error: a misspelt name must not pass for an empty one, which is what a
forge would make of it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'[^']*'|\"[^\"]*\")|(?P<op>==|!=|&&|\|\||!|\(|\))|(?P<name>\$?[\w.-]+))"
)
_EMBEDDED: Final = re.compile(r"\$\{\{(.+?)\}\}")
MAY_BE_UNSET: Final = ("vars.", "secrets.")


class Expressions:
    """Evaluates over a tree of contexts; `asked` is every name that was looked up."""

    def __init__(self, contexts: Mapping[str, Any], *, failed: bool = False) -> None:
        self._contexts = contexts
        self._failed = failed
        self.asked: set[str] = set()

    def text(self, template: Any) -> str:
        """A value with each ${{ }} in it replaced."""
        return _EMBEDDED.sub(lambda found: _plain(self.value(found[1])), _plain(template))

    def holds(self, condition: str) -> bool:
        """A step's or job's `if`; without a status function it is not reached after a failure."""
        inner = _EMBEDDED.fullmatch(condition)
        said = inner[1] if inner else condition
        named = re.search(r"\b(success|failure|always)\(\)", said)
        return bool(self.value(said)) and (bool(named) or not self._failed)

    def value(self, expression: str) -> Any:
        self._rest = self._split(expression)
        found = self._either()
        assert not self._rest, f"not understood: {expression!r}"
        return found

    def _split(self, expression: str) -> list[str]:
        found, at = [], 0
        end = len(expression.rstrip())
        while at < end:
            token = _TOKEN.match(expression, at)
            assert token, f"not understood: {expression[at:]!r}"
            found.append(token[0].strip())
            at = token.end()
        return found

    def _either(self) -> Any:
        found = self._both()
        while self._take("||"):
            other = self._both()
            found = found or other
        return found

    def _both(self) -> Any:
        found = self._equal()
        while self._take("&&"):
            other = self._equal()
            found = found and other
        return found

    def _equal(self) -> Any:
        found = self._one()
        if self._take("=="):
            return found == self._one()
        if self._take("!="):
            return found != self._one()
        return found

    def _one(self) -> Any:
        if self._take("!"):
            return not self._one()
        if self._take("("):
            found = self._either()
            assert self._take(")")
            return found
        token = self._rest.pop(0)
        if token[0] in "'\"":
            return token[1:-1]
        if self._take("("):
            assert self._take(")")
            return {"success": not self._failed, "failure": self._failed, "always": True}[token]
        return self._look_up(token)

    def _take(self, token: str) -> bool:
        if self._rest and self._rest[0] == token:
            self._rest.pop(0)
            return True
        return False

    def _look_up(self, name: str) -> Any:
        self.asked.add(name)
        if name.startswith("$"):  # a variable of GitLab; one that is not set is null there
            return self._contexts.get(name[1:], "")
        found: Any = self._contexts
        for part in name.split("."):
            if name.startswith(MAY_BE_UNSET) and part not in found:
                return ""
            assert part in found, f"{name} is not known"
            found = found[part]
        return found


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
