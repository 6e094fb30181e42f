"""The form of `gateways new`: questions with a proposal each, asked on a terminal.

With --yes nothing is asked, and every proposal is taken as it is; one that is not fit ends it.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import click

from reconciler.cli.common import Settings, notice
from reconciler.cli.streams import note
from reconciler.errors import ExitCode, GatewaysError, InvalidInput, WrongUsage
from reconciler.model import Failure, Secret, Severity
from reconciler.report.safe import line, painted_lines
from reconciler.report.style import PLAIN, Style

Judge = Callable[[str], str]
"""Why an answer will not do; nothing if it will."""

_NOT_WRITTEN: Final = "nothing was written"
_LONGEST_LINE: Final = 1024


class GaveUp(GatewaysError):
    """The servers could not be settled on: nothing was written."""

    exit_code = ExitCode.CONNECTION


def fine(_answer: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Form:
    """Asks and tells on standard error; `yes` takes every proposal."""

    settings: Settings
    yes: bool = False

    @property
    def style(self) -> Style:
        coloured = sys.stderr.isatty() and self.settings.log_format == "text"
        return self.settings.style() if coloured else PLAIN

    def tell(self, text: str = "") -> None:
        """Text of ours on lines of their own; what comes from elsewhere in it must be escaped."""
        if self.style is PLAIN:
            notice(self.settings, text)
        else:
            note(painted_lines(text))

    def head(self, text: str) -> None:
        self.tell(f"\n{self.style.bold(text)}")

    def warn(self, text: str) -> None:
        self.tell(f"  {self.style.caution('note:')} {line(text)}")

    def failed(self, failure: Failure) -> None:
        blame = f"field {failure.field}: " if failure.field else ""
        self.tell(f"  {self.style.bad(blame + line(failure.message))}")
        if failure.hint:
            self.tell(f"  hint: {line(failure.hint)}")

    def text(self, question: str, proposal: str, judge: Judge = fine) -> str:
        """An answer that will do. An empty proposal must be typed over unless it will do itself.

        Raises:
            InvalidInput: with --yes, the proposal will not do.

        """
        while True:
            if self.yes:
                answer = proposal
            else:
                answer = click.prompt(
                    question, default=proposal, show_default=bool(proposal), err=True
                ).strip()
            fault = judge(answer)
            if not fault:
                return answer
            if self.yes:
                raise InvalidInput(f"{question}: {line(fault)}", "run it without --yes and choose")
            self.tell(f"  {self.style.bad(line(fault))}")

    def choice(self, question: str, answers: Sequence[str], proposal: str) -> str:
        if self.yes:
            return proposal
        chosen: str = click.prompt(
            question,
            type=click.Choice(answers, case_sensitive=False),
            default=proposal,
            err=True,
        )
        return chosen

    def confirm(self, question: str, *, proposal: bool) -> bool:
        return proposal if self.yes else click.confirm(question, default=proposal, err=True)

    def password(self, *, from_stdin: bool) -> Secret:
        """The mailbox's password, never echoed, judged as a declared one is.

        Raises:
            WrongUsage: what standard input holds will not do.

        """
        while True:
            if from_stdin and not sys.stdin.isatty():
                text = sys.stdin.readline(_LONGEST_LINE).rstrip("\r\n")
            else:
                text = click.prompt(
                    "Password (not shown)",
                    default="",
                    hide_input=True,
                    show_default=False,
                    err=True,
                )
            faults = _password_faults(text)
            for severity, message, hint in faults:
                paint = self.style.bad if severity is Severity.ERROR else self.style.caution
                self.tell(f"  {paint(message)}\n  hint: {hint}")
            if all(severity is not Severity.ERROR for severity, _, _ in faults):
                return Secret(text)
            if from_stdin:
                raise WrongUsage(
                    "the password on standard input will not do",
                    "printf '%s' THE-PASSWORD | gateways new ADDRESS --yes --password-stdin",
                )

    def give_up(self, why: str, hint: str = "") -> GaveUp:
        return GaveUp(f"{why}: {_NOT_WRITTEN}", hint)


def _password_faults(text: str) -> list[tuple[Severity, str, str]]:
    from reconciler.declarations.rules.facts import SEVERITIES
    from reconciler.declarations.rules.values import VALUE_RULES

    try:
        text.encode()
    except UnicodeEncodeError:
        return [(Severity.ERROR, "the password is no text that can be read", "type it again")]
    found = [fault for rule in VALUE_RULES if (fault := rule(text))]
    return [(SEVERITIES[slug], message, hint) for slug, message, hint in found]
