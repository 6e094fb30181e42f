"""gateways validate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    result,
)
from reconciler.errors import ExitCode
from reconciler.model import Severity

if TYPE_CHECKING:
    from reconciler.report.problems import Judgement


@click.command("validate")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@global_options(("text", "json", "github"))
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
    from reconciler.clock import now
    from reconciler.declarations.validate import about
    from reconciler.pipeline import judged
    from reconciler.report.problems import Judgement

    project = open_project(settings)
    chosen = [choose_target(project, settings)] if settings.target else [*project.targets.values()]
    loaded, verdict = judged(project, chosen, now())
    problems = verdict.problems
    if files:
        problems = about(problems, [_relative(file, project.root) for file in files])
    names = {one.name for declared in verdict.declared.values() for one in declared}
    judgement = Judgement(problems, len(loaded.documents), len(names))
    result(_render(judgement, settings))
    return ExitCode.INVALID if judgement.count(Severity.ERROR) else ExitCode.DONE


def _render(judgement: "Judgement", settings: Settings) -> str:
    from reconciler.report import problems

    match settings.format:
        case "json":
            return json.dumps(problems.judgement_data(judgement), indent=2) + "\n"
        case "github":
            return problems.judgement_github(judgement)
        case _:
            return problems.judgement_text(judgement, settings.style())


def _relative(file: Path, root: Path) -> str:
    """As problems name it. Links are not followed: a link is reported under its own name."""
    absolute = file.parent.resolve() / file.name
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(file)
