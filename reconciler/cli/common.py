"""What every command shares: the global options, where the project is, and how to print."""

import math
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from reconciler.cli.streams import note
from reconciler.errors import WrongUsage
from reconciler.model import Selection, Target
from reconciler.report.safe import json_text, log_lines
from reconciler.report.style import COLOUR, PLAIN, Style

if TYPE_CHECKING:
    from reconciler.declarations.project import Project

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")

FORMATS: Final = ("text", "json", "github", "sarif", "junit", "markdown", "html")


@dataclass(slots=True)
class Settings:
    """The global options; each may stand before or after the command's name."""

    directory: str = "."
    target: str | None = None
    format: str = "text"
    only: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    no_color: bool = False
    quiet: bool = False
    verbose: bool = False
    log_format: str = "text"

    @property
    def json(self) -> bool:
        return self.format == "json"

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The labels of -l. Raises WrongUsage."""
        return tuple(_label(text) for text in self.labels)

    def selection(self, target: Target) -> Selection:
        """The target's own selection narrowed by -l and --only."""
        return Selection(self.only, tuple(sorted({*target.select, *self.pairs})))

    def style(self) -> Style:
        """Colours only on a terminal, and not where NO_COLOR or --no-color says so."""
        wanted = sys.stdout.isatty() and not self.no_color and not os.environ.get("NO_COLOR")
        return COLOUR if wanted and os.environ.get("TERM") != "dumb" else PLAIN


class Seconds(click.FloatRange):
    """A number of seconds, and none that is none."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


class NamesByOption(click.Command):
    """A command that takes no names, and says how gateways are named to it."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        extra = super().parse_args(ctx, args)
        if extra and not ctx.resilient_parsing:
            only = " ".join(f"--only {quote(name)}" for name in extra)
            ctx.fail(f"{' '.join(extra)}: names are no arguments here; for them alone: {only}")
        return extra


def global_options(formats: Sequence[str] = FORMATS) -> Callable[[Command], Command]:
    """The options that hold everywhere; `formats` are those that the command can print."""
    options = [
        _option(
            "-C",
            "directory",
            metavar="DIR",
            help="The project's folder; other files are named as seen from here.",
        ),
        _option("-t", "--target", "target", metavar="TARGET", help="A target of gateways.yaml."),
        _option("--format", "format", type=click.Choice(formats), help="How to print the result."),
        _option(
            "--only", "only", metavar="GLOB", multiple=True, help="Only gateways with such a name."
        ),
        _option(
            "-l", "labels", metavar="LABEL=VALUE", multiple=True, help="Only gateways so labelled."
        ),
        _option("--no-color", "no_color", is_flag=True, help="No colours, even on a terminal."),
        _option("-q", "--quiet", "quiet", is_flag=True, help="Only results and errors."),
        _option("-v", "--verbose", "verbose", is_flag=True, help="Say what is being done."),
        _option(
            "--log-format",
            "log_format",
            type=click.Choice(["text", "json"]),
            help="How to print what goes to standard error.",
        ),
    ]

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    return click.option(*names, expose_value=False, callback=_store, **attributes)


def _store(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    settings = ctx.ensure_object(Settings)
    if parameter.name == "format" and value is None and ctx.parent:
        _refuse_format(settings.format, parameter)
    if parameter.name and value not in (None, (), False):
        setattr(settings, parameter.name, value)


def _refuse_format(given: str, parameter: click.Parameter) -> None:
    """A format that stands before the command's name must be one that the command prints."""
    formats = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
    if given not in formats:
        printed = ", ".join(map(str, formats))
        raise click.BadParameter(f"{given!r} is not among {printed}", param=parameter)


def _label(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise WrongUsage(
            f"-l {text}: a label is written as LABEL=VALUE", "for example: -l env=test"
        )
    return name, value


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def open_project(settings: Settings) -> "Project":
    from reconciler.declarations.project import find_root, load_project

    start = Path(settings.directory)
    if not start.is_dir():
        # or else the folder above it would be searched, and perhaps another project be applied
        raise WrongUsage(f"-C {settings.directory}: there is no such folder")
    refuse_nowhere()
    return load_project(find_root(start))


def refuse_nowhere() -> None:
    """Raise WrongUsage where the folder that a relative path would begin at is gone."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise WrongUsage("the folder that this was started in is gone", "cd to it anew") from None


def choose_target(project: "Project", settings: Settings) -> Target:
    """The target of -t, or the default one."""
    target = project.target(settings.target)
    explain(settings, f"target {target.name} of {project.root / 'gateways.yaml'}")
    return target


def wait_for(main: Coroutine[Any, Any, Result]) -> Result:
    """Run the one coroutine of a command, and return what it returns.

    Not through `asyncio.run`'s own result: to handle Ctrl-C it makes a text of the whole of it,
    which for a large snapshot takes longer than everything else.
    """
    import asyncio

    found: list[Result] = []

    async def keep() -> None:
        found.append(await main)

    asyncio.run(keep())
    return found[0]


def say(settings: Settings, text: str) -> None:
    """Progress and notes, for people: to standard error, unless -q."""
    if not settings.quiet:
        notice(settings, text)


def explain(settings: Settings, text: str) -> None:
    """What is being done, for who asked with -v."""
    if settings.verbose:
        notice(settings, text, "debug")


def notice(settings: Settings, text: str, level: str = "info") -> None:
    """A line on standard error in the form of --log-format."""
    if settings.log_format == "json":
        from reconciler.clock import now, stamp

        said = {"at": stamp(now()), "level": level, "message": text}
        note(json_text(said, indent=None))
    else:
        note(log_lines(text))
