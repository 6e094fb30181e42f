"""gateways dump."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    say,
    wait_for,
)
from reconciler.cli.planning import choose
from reconciler.cli.streams import result
from reconciler.errors import WrongUsage
from reconciler.model import ActualGateway, Cause, Certificate, Snapshot, StatusState, Target
from reconciler.report.safe import json_text, line

if TYPE_CHECKING:
    from reconciler.declarations.writer import Declaration

_SHOWN: Final = 3


@click.command("dump")
@click.argument("names", nargs=-1)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write files and certificates to this folder.",
)
@click.option("--all", "foreign", is_flag=True, help="Those of other owners too.")
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, names: tuple[str, ...], *, out: Path | None, foreign: bool) -> int:
    """Write the declarations of what is on the platform.

    Without --out one YAML document goes to standard output. With --out each mail host has a file
    in DIR, and the certificates lie in DIR/certs; nothing that is there already is overwritten.

    No platform gives a password away: {secret: NAME} stands where one belongs, and the password is
    stored with sops under that name. After that, plan has nothing to change.

    \b
    Examples:
      gateways dump support-out
      gateways dump -t production --out gateways.d
      gateways dump --all --only 'sales-*' --out taken-over
    """
    from reconciler.declarations.writer import as_data, certificate_paths, declarations_of

    if str(out) == "-":
        raise WrongUsage("--out names a folder", "to standard output: leave it out")
    if out and settings.json:
        raise WrongUsage("--out writes YAML files", "leave out --format json")
    project = open_project(settings)
    target = choose_target(project, settings)
    gateways = _chosen(
        wait_for(_read(target, project.root)), names, settings, target, foreign=foreign
    )
    certificates = [one.gateway.certificate for one in gateways if one.gateway.certificate]
    paths = certificate_paths(certificates, None if out else target.declarations)
    declared = declarations_of(gateways, paths, target.fingerprint_key)
    if out:
        _write(out, declared, certificates, paths, settings)
    elif settings.json:
        result(json_text(as_data(declared)) + "\n")
    else:
        _print(declared, target)
    _say_next(declared, gateways, target, settings)
    return 0


async def _read(target: Target, root: Path) -> Snapshot:
    from reconciler.platforms import open_readable

    platform = open_readable(target, root)
    try:
        return await platform.read()
    finally:
        await platform.close()


def _chosen(
    snapshot: Snapshot, names: Sequence[str], settings: Settings, target: Target, *, foreign: bool
) -> list[ActualGateway]:
    """Those that are named, or all of ours but the ones that are off since nobody declares them."""
    known = {one.gateway.name: one for one in snapshot.gateways}
    found = choose(known, names, settings, target)
    others = [one.gateway.name for one in found if one.owner != target.owner]
    if others and names and not foreign:
        raise WrongUsage(
            f"gateway {others[0]!r} is not ours", "--all dumps the gateways of other owners too"
        )
    ours = [one for one in found if foreign or one.owner == target.owner]
    if others and not foreign:
        say(settings, f"note: left out are those of other owners: {len(others)}; --all dumps them")
    kept = ours if names else [one for one in ours if not _is_given_up(one)]
    if len(kept) < len(ours):
        say(
            settings,
            f"note: left out are those that were disconnected since nobody declares them: "
            f"{len(ours) - len(kept)}; name them to dump them",
        )
    if not kept:
        say(settings, f"note: platform of target {target.name}: there is nothing to dump")
    return kept


def _is_given_up(one: ActualGateway) -> bool:
    return (one.status.state, one.status.cause) == (StatusState.DISCONNECTED, Cause.UNDECLARED)


def _print(declared: Sequence["Declaration"], target: Target) -> None:
    from reconciler.declarations.writer import as_yaml

    where = f"Save this as a file in {target.declarations}/."
    heading = [f"What target {target.name} has, as declarations. {where}"]
    if any(one.secret for one in declared):
        heading.append("Passwords are not here: sops stores each under the name in {secret: NAME}.")
    if any("certificate_file" in one.fields for one in declared):
        heading.append("Certificates are not here either: gateways dump --out DIR writes them.")
    result(as_yaml(declared, heading))


def _write(
    out: Path,
    declared: Sequence["Declaration"],
    certificates: Sequence[Certificate],
    paths: dict[str, str],
    settings: Settings,
) -> None:
    """Certificates first, so that no declaration ever names one that is not there."""
    from reconciler.cli.dump_files import by_host, is_there, write_all_new
    from reconciler.declarations.writer import as_yaml

    heading = ["Made by gateways dump. sops stores each password under the name in {secret: NAME}."]
    files = {
        paths[one.digest]: one.pem
        for one in certificates
        if not is_there(out / paths[one.digest], one)
    }
    files |= {name: as_yaml(some, heading) for name, some in by_host(declared).items()}
    write_all_new(out, files)
    for name in files:
        say(settings, f"written: {out / name}")


def _say_next(
    declared: Sequence["Declaration"],
    gateways: Sequence[ActualGateway],
    target: Target,
    settings: Settings,
) -> None:
    secrets = [one.secret for one in declared if one.secret]
    steps = []
    if secrets:
        folder = target.secrets[0].rpartition("/")[0] or "." if target.secrets else "."
        steps.append(f"sops edit {folder}/NAME.sops.yaml    # store {_some(secrets)}")
    if declared:
        steps.append("gateways validate")
    others = [line(one.gateway.name) for one in gateways if one.owner != target.owner]
    if others:
        steps.append(f"gateways adopt {_some(others)}")
    if declared:
        steps.append("gateways plan    # has nothing to do where declarations and passwords agree")
    if steps:
        say(settings, "next:\n" + "\n".join(f"  {step}" for step in steps))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
