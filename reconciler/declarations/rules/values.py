"""Rules that need the plain password. No message tells more of it than that the rule was broken."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.declarations.declared import Declared
from reconciler.declarations.rules.facts import SEVERITIES, problem
from reconciler.model import PASSWORD_FIELD, DesiredGateway, Problem

LONGEST_PASSWORD: Final = 64

Fault = tuple[str, str, str]
ValueRule = Callable[[str], Fault | None]

_DOTS: Final = frozenset("*•●∙·․.…⋅◦‧■█")  # noqa: RUF001  what consoles show for a password
_STAND_INS: Final = frozenset({"redacted", "masked", "hidden", "sensitive", "sensitive value"})
_PLACEHOLDERS: Final = frozenset(
    {
        "changeit",
        "changeme",
        "changethis",
        "example",
        "fixme",
        "mypassword",
        "passwd",
        "password",
        "placeholder",
        "replaceme",
        "secret",
        "thepassword",
        "todo",
        "yourpassword",
    }
)
_JOINTS: Final = str.maketrans("", "", "-_.<>[](){}!")
_BRACKETS: Final = "<>[](){}"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class _Known:
    """A gateway whose password is at hand."""

    desired: DesiredGateway
    declared: Declared | None
    password: str

    def problem(self, slug: str, message: str, hint: str) -> Problem:
        if self.declared is not None:
            return problem(self.declared, PASSWORD_FIELD, slug, message, hint)
        path = f"gateways.{self.desired.gateway.name}"
        return Problem(self.desired.place, path, slug, SEVERITIES[slug], message, hint)


def password_length(password: str) -> Fault | None:
    if not password.strip():
        return "password-length", "the password is empty", "store it with sops"
    if len(password) <= LONGEST_PASSWORD:
        return None
    return (
        "password-length",
        f"the password has more than {LONGEST_PASSWORD} characters: the console takes no more",
        f"have a password of at most {LONGEST_PASSWORD} characters set for this mailbox",
    )


def masked_password(password: str) -> Fault | None:
    if not password:
        return None
    stand_in = password.strip(_BRACKETS).strip().lower() in _STAND_INS
    if not stand_in and not _DOTS.issuperset(password):
        return None
    return (
        "masked-password",
        "the password is what a page shows in place of one",
        "store the password itself with sops",
    )


def placeholder_password(password: str) -> Fault | None:
    if password.lower().translate(_JOINTS) not in _PLACEHOLDERS:
        return None
    return (
        "placeholder-password",
        "the password is a word that only keeps the place of one",
        "store the mailbox's own password with sops edit",
    )


def password_control_character(password: str) -> Fault | None:
    """White space at the ends has a warning of its own."""
    if not _CONTROL.search(password.strip()):
        return None
    return (
        "password-control-character",
        "the password has a line break or another control character in it",
        "store it again; in YAML, a block (|) keeps every line break",
    )


def password_whitespace(password: str) -> Fault | None:
    if password == password.strip():
        return None
    return (
        "password-whitespace",
        "the password begins or ends with white space",
        "store it again without, unless it belongs to it; in YAML, a block (|) adds a line break",
    )


def non_ascii_password(password: str) -> Fault | None:
    if password.isascii() or masked_password(password):
        return None
    return (
        "non-ascii-credentials",
        "the password has characters outside ASCII, which many mail servers do not accept",
        "have a password in plain ASCII set for this mailbox",
    )


VALUE_RULES: Final[tuple[ValueRule, ...]] = (
    password_length,
    masked_password,
    placeholder_password,
    password_control_character,
    password_whitespace,
    non_ascii_password,
)


def value_problems(
    gateways: Sequence[DesiredGateway], declared: Sequence[Declared]
) -> Iterator[Problem]:
    """What is wrong with the passwords that are at hand; the others are passed over."""
    by_name = {gateway.name: gateway for gateway in declared}
    known = [
        _Known(desired, by_name.get(desired.gateway.name), desired.password.reveal())
        for desired in gateways
        if desired.password is not None
    ]
    for one in known:
        for rule in VALUE_RULES:
            fault = rule(one.password)
            if fault:
                yield one.problem(*fault)
    yield from _reused(known)


def _reused(known: Sequence[_Known]) -> Iterator[Problem]:
    """One mailbox has two gateways, so only another host or user makes a password reused."""
    groups: defaultdict[str, list[_Known]] = defaultdict(list)
    for one in known:
        if one.password:
            groups[one.password].append(one)
    for group in groups.values():
        by_account: dict[tuple[str, str | None], _Known] = {}
        for one in group:
            by_account.setdefault(_account(one), one)
        if len(by_account) > 1:
            first, second = list(by_account.values())[:2]
            for one in group:
                other = second if _account(one) == _account(first) else first
                yield one.problem(
                    "reused-password",
                    f"gateway {other.desired.gateway.name!r} logs in to another mailbox with the"
                    " same password",
                    "give every mailbox a password of its own",
                )


def _account(known: _Known) -> tuple[str, str | None]:
    return known.desired.gateway.host, known.desired.gateway.user_id
