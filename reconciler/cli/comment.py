"""gateways comment."""

import os
from pathlib import Path

import click

from reconciler.cli.common import Settings, global_options, pass_settings, say, wait_for
from reconciler.cli.show import read_plan
from reconciler.cli.streams import result
from reconciler.report.safe import json_text, log_line


@click.command("comment")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--print", "only_print", is_flag=True, help="Print the comment; no network is used.")
@click.option("--forge", type=click.Choice(["github", "gitlab"]), help="Where the pull request is.")
@click.option("--repository", help="OWNER/NAME on GitHub; the project's id or path on GitLab.")
@click.option("--number", type=click.IntRange(1), help="The pull or merge request's number.")
@global_options(("text", "json"))
@pass_settings
def command(  # noqa: PLR0913 - one parameter an option
    settings: Settings,
    *,
    file: Path,
    only_print: bool,
    forge: str | None,
    repository: str | None,
    number: int | None,
) -> int:
    """Put a saved plan into the pull request, as one comment that each run replaces.

    In a job of GitHub Actions or GitLab CI the pull request is known; elsewhere name it. The token
    is taken from GITHUB_TOKEN or GITLAB_TOKEN. The plan is data: a job that comments needs neither
    the declarations nor a key.

    \b
    Examples:
      gateways comment plan.json
      gateways comment plan.json --print
      gateways comment plan.json --forge github --repository example/mail --number 7
    """
    from reconciler.engine.planfile import from_text
    from reconciler.forges import discussion, open_forge
    from reconciler.report.comment import comment, marker

    plan = from_text(read_plan(file), file.name)
    text = comment(plan)
    if only_print:
        result(
            json_text({"body": text, "url": None}, indent=None) + "\n" if settings.json else text
        )
        return 0
    place, token = discussion(os.environ, forge=forge, repository=repository, number=number)
    say(settings, f"commenting on {place.forge} {place.repository}, number {place.number}")
    url = wait_for(open_forge(place, token).put_comment(marker(plan.target), text))
    result(
        json_text({"body": text, "url": url}, indent=None) + "\n"
        if settings.json
        else f"{log_line(url)}\n"
    )
    return 0
