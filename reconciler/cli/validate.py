"""gateways validate."""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
)
from reconciler.cli.streams import result
from reconciler.errors import ExitCode, InvalidInput, WrongUsage
from reconciler.model import Problem, Severity, Target, gateway_of
from reconciler.report.safe import json_text

if TYPE_CHECKING:
    from reconciler.declarations.declared import Declared
    from reconciler.declarations.project import Project
    from reconciler.report.problems import Judgement


@click.command("validate")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@global_options(("text", "json", "github", "sarif", "junit"))
@pass_settings
def command(settings: Settings, files: tuple[Path, ...]) -> int:
    """Check every declaration: offline, without a key, all problems at once.

    Every target is judged, or with -t one. With FILES only what concerns these files is reported;
    all declarations are read all the same, since a name may stand in two files.

    \b
    Examples:
      gateways validate
      gateways validate gateways.d/support.yaml
      gateways validate --format github
    """
    try:
        project = open_project(settings)
    except InvalidInput as invalid:
        if not invalid.problems:
            raise
        return _tell(invalid.problems, 1, 0, settings)
    chosen = [choose_target(project, settings)] if settings.target else [*project.targets.values()]
    return _validate(project, chosen, files, settings)


def _validate(
    project: "Project", targets: Sequence[Target], files: Sequence[Path], settings: Settings
) -> ExitCode:
    """The first two stages of the pipeline, without the imports of all the others."""
    from reconciler.clock import now
    from reconciler.declarations.cache import ParseCache
    from reconciler.declarations.load import load
    from reconciler.declarations.validate import about, judge, stands_in

    loaded = load(project.root, targets[0].declarations, ParseCache.open(project.root))
    wanted = [_relative(file, project.root) for file in files] or ["."]

    def asked(file: str) -> bool:
        return stands_in(file, wanted)

    verdict = judge(project, loaded, targets, now=now(), asked=asked)
    declared = {one.name: one for some in verdict.declared.values() for one in some}
    left_out = {name for name, one in declared.items() if not _selected(one, settings)}
    problems = [one for one in about(verdict.problems, wanted) if not gateway_of(one, left_out)]
    return _tell(problems, loaded.files, len(declared.keys() - left_out), settings)


def _selected(declared: "Declared", settings: Settings) -> bool:
    if settings.only and not any(fnmatchcase(declared.name, glob) for glob in settings.only):
        return False
    return set(settings.pairs) <= set((declared.fields.get("labels") or {}).items())


def _tell(problems: Sequence[Problem], files: int, gateways: int, settings: Settings) -> ExitCode:
    from reconciler.report.problems import Judgement

    judgement = Judgement(problems, files, gateways)
    result(_render(judgement, settings))
    return ExitCode.INVALID if judgement.count(Severity.ERROR) else ExitCode.DONE


def _render(judgement: "Judgement", settings: Settings) -> str:
    from reconciler.report import problems

    match settings.format:
        case "json":
            return json_text(problems.judgement_data(judgement)) + "\n"
        case "github":
            return problems.judgement_github(judgement)
        case "sarif":
            from reconciler import __version__
            from reconciler.report.sarif import judgement_sarif

            return json_text(judgement_sarif(judgement, __version__)) + "\n"
        case "junit":
            from reconciler.report.junit import judgement_junit

            return judgement_junit(judgement)
        case _:
            return problems.judgement_text(judgement, settings.style())


def _relative(file: Path, root: Path) -> str:
    """As problems name it. Links are not followed: a link is reported under its own name.

    Raises:
        WrongUsage: there is no such file, or it is not of the project.

    """
    if not os.path.lexists(file):
        raise WrongUsage(f"{file}: there is no such file")
    absolute = file.parent.resolve() / file.name if file.name else file.resolve()
    if not absolute.is_relative_to(root):
        raise WrongUsage(f"{file}: this is not in the project {root}")
    return absolute.relative_to(root).as_posix()
