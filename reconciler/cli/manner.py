"""How steps are gone through where it is not on the terminal, and the options that say so."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from reconciler.errors import WrongUsage

FORMS: Final = (".md", ".html")


@dataclass(frozen=True, slots=True)
class Manner:
    """`done` are gateways whose steps were all done; `shows` is the status that the console shows.

    `plan` is a saved plan's file.
    """

    done: tuple[str, ...] = ()
    shows: str | None = None
    checklist: Path | None = None
    plan: Path | None = None

    def refuse_elsewhere(self, platform: str) -> None:
        """Raise WrongUsage where an option makes no sense on a platform that has writes."""
        for option, given in (("--done", self.done), ("--checklist", self.checklist)):
            if given:
                raise WrongUsage(
                    f"{option} is for targets of platform runbook, and this one is {platform}",
                    "without it the changes are carried out",
                )
        self.refuse_together()

    def refuse_together(self) -> None:
        if self.done and self.checklist:
            raise WrongUsage("--done ticks steps and --checklist writes them: use one of the two")
        if self.shows and not self.done:
            raise WrongUsage("--shows says what the console shows after --done NAME")
        if self.checklist and self.checklist.suffix.lower() not in FORMS:
            raise WrongUsage(
                f"--checklist {self.checklist}: the file's name ends in .md or .html",
                "for example: --checklist steps.html",
            )


_OPTIONS: Final = (
    click.option(
        "--done",
        metavar="NAME",
        multiple=True,
        help="Platform runbook: the steps of this gateway are all done; nothing else is asked.",
    ),
    click.option("--shows", metavar="TEXT", help="With --done: the status that the console shows."),
    click.option(
        "--checklist",
        type=click.Path(path_type=Path),
        help="Platform runbook: write the steps to this file (.md, .html) and tick nothing.",
    ),
)


def manner_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --done, --shows and --checklist, each with the name of its field of `Manner`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
