"""One fault of a YAML file on its way to becoming a problem.

Text of the file is kept apart from the sentence around it: only the path, which is looked up when
there is a fault at all, tells whether that text may be shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from reconciler.declarations.catalogue.files import severity
from reconciler.declarations.yaml_gaps import Gaps
from reconciler.model import (
    PASSWORD_FIELD,
    EncryptionMode,
    Place,
    Problem,
    ProtocolType,
    ReceiveFrom,
    State,
    WhenFailed,
)

SHOWN = 40
"""Characters of a file's own text that a message repeats at most."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What was read of a file in spite of its faults; what was refused is None in it."""

    data: Any
    gaps: Gaps


class YamlProblem(Exception):
    """Every fault of a file, sorted; `rest` is None where the file could not be read to its end."""

    def __init__(self, problems: Sequence[Problem], rest: Rest | None = None) -> None:
        super().__init__(problems[0].message)
        self.problems = tuple(problems)
        self.rest = rest


_CHOICES: Final[Mapping[str, type[StrEnum]]] = {
    "protocol_type": ProtocolType,
    "encryption_mode": EncryptionMode,
    "receive_from": ReceiveFrom,
    "state": State,
    "when_failed": WhenFailed,
}
_FIELD_HINTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("authentication_flag", "case_sensitivity", "protect"), "write true or false"),
    "port": "write a whole number from 1 to 65535, without leading zeros",
}


@dataclass(eq=False)
class Fault(Exception):
    """`line` and `column` count from 0, as libyaml's marks do.

    `{}` in message and hint stands for `echo`, text of the file, after the `noun` for it. Where it
    may be a password or a part of one, the message says `generic` instead.
    """

    rule: str
    line: int
    column: int
    message: str
    hint: str = ""
    echo: str = ""
    noun: str = ""
    generic: str = "this value"
    is_key: bool = False

    def problem(self, file: str, path: Sequence[str | int], *, secret: bool) -> Problem:
        """`secret` says that the file may hold a password at the fault's place."""
        shown = self.generic if secret else f"{self.noun}'{printable(self.echo)}'"
        return Problem(
            Place(file, self.line + 1, self.column + 1),
            dotted(path),
            self.rule,
            severity(self.rule),
            self.message.replace("{}", shown),
            self._hint_at(path) or self._hint(secret=secret),
        )

    def _hint_at(self, path: Sequence[str | int]) -> str:
        """What to write instead, where the field says more than its unreadable value does."""
        if self.rule != "ambiguous-value" or self.is_key:
            return ""
        match tuple(path):
            case ("gateways", _, str(field)) | ("defaults", str(field)) if field in _CHOICES:
                return "one of " + ", ".join(_CHOICES[field])
            case ("gateways", _, str(field)) | ("defaults", str(field)):
                return _FIELD_HINTS.get(field, "")
            case _:
                return ""

    def _hint(self, *, secret: bool) -> str:
        if "{}" not in self.hint:
            return self.hint
        if secret or len(self.echo) > SHOWN or not self.echo.isprintable():
            return "put it in double quotes"
        return self.hint.replace("{}", self.echo)


def dotted(path: Sequence[str | int]) -> str:
    """The path as people write it, without what stands under a password."""
    keys = list(path)
    if PASSWORD_FIELD in keys:
        del keys[keys.index(PASSWORD_FIELD) + 1 :]
    return ".".join(printable(str(key)) for key in keys)


def printable(text: str) -> str:
    """Short, on one line, and without characters that steer a terminal or hide themselves."""
    short = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in short
    )
