"""The rows of the table, one function each: what is run, against what, and what is asked of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.accounts import accounts
from bench.api import all_gateways, apply_creates, one_gateway
from bench.hooks import run_hooks
from bench.measure import Figures, Side, Spread, compare
from bench.messages import send_messages
from bench.peers import (
    CHECK_JSONSCHEMA,
    CHECK_JSONSCHEMA_C,
    CHECKOUT,
    OCTODNS,
    ours,
    program,
)
from bench.projects import Project, Projects
from bench.sessions import held_memory, storm
from bench.table import Row
from demo.mailserver.process import ServerProcess
from reconciler.model import EncryptionMode, ProtocolType

KIB: Final = 1024
CHANGED: Final = 10
"""How many files a usual pull request changes, and how many gateways a small project has."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How much to measure: sizes are divided by `divisor`, and each side runs `runs` times."""

    projects: Projects
    divisor: int = 1
    runs: int = 5

    def size(self, count: int) -> int:
        return count // self.divisor


def validate_all(setup: Setup) -> Iterator[Row]:
    """V1: every file of a large repository."""
    count = setup.size(10_000)
    project = setup.projects.plain(count)
    cold, warm, installed, best = compare(
        [
            _gateways(project, "validate", before=project.forget_parses),
            _gateways(project, "validate"),
            _check_jsonschema(CHECK_JSONSCHEMA, project, project.files),
            _check_jsonschema(CHECK_JSONSCHEMA_C, project, project.files),
        ],
        setup.runs,
    )
    what = f"validate, {count:,} files"
    yield _seconds(("V1", f"{what}, cold"), cold, "check-jsonschema as installed", installed, 0.10)
    yield _seconds(("V1", f"{what}, cold"), cold, "check-jsonschema at its best", best, 0.20)
    yield Row("V1", f"{what}, memory", cold.memory, "MiB", "the same", best.memory, 2.0)
    yield _seconds(("V1", f"{what}, warm"), warm, "check-jsonschema at its best", best)


def validate_changed(setup: Setup) -> Iterator[Row]:
    """V2: what a pre-commit hook waits for."""
    few = setup.projects.plain(CHANGED)
    count = setup.size(10_000)
    many = setup.projects.plain(count)
    chosen = many.files[:: count // CHANGED]
    cold, warm, installed, best = compare(
        [
            _gateways(few, "validate", *few.files, before=few.forget_parses),
            _gateways(many, "validate", *chosen, before=_Changer(many, chosen)),
            _check_jsonschema(CHECK_JSONSCHEMA, few, few.files),
            _check_jsonschema(CHECK_JSONSCHEMA_C, few, few.files),
        ],
        setup.runs * 3,
    )
    theirs = min(installed, best, key=lambda figures: figures.seconds.median)
    peer = f"check-jsonschema on the {CHANGED}"
    yield _seconds(("V2", f"validate, {CHANGED} files, cold"), cold, peer, theirs, 0.45)
    what = f"validate, {CHANGED} changed of {count:,}, warm"
    yield _seconds(("V2", what), warm, peer, theirs, 2.0)


def validate_tenfold(setup: Setup) -> Iterator[Row]:
    """V3: whether ten times the files take ten times as long."""
    small, large = setup.size(10_000), setup.size(100_000)
    projects = [setup.projects.plain(count) for count in (large, small)]
    sides = [_gateways(one, "validate", before=one.forget_parses) for one in projects]
    many, few = compare(sides, setup.runs)
    yield _seconds(("V3", f"validate, {large:,} files"), many, f"ours, {small:,} files", few, 11.5)
    yield _memory_each(("V3", "validate, memory a gateway"), (many, large), (few, small), None)


def plan_all(setup: Setup) -> Iterator[Row]:
    """P1: nothing has changed, and every password is decrypted and compared to find that out."""
    count = setup.size(10_000)
    project = setup.projects.filled(count)
    cold, warm, theirs = compare(
        [
            _gateways(project, "plan", before=project.forget_parses),
            _gateways(project, "plan"),
            _octodns(setup.projects.octodns(count)),
        ],
        setup.runs,
    )
    what = f"plan, {count:,} unchanged"
    yield _seconds(("P1", f"{what}, cold"), cold, "octodns-sync, YAML to YAML", theirs, 0.12)
    yield _seconds(("P1", f"{what}, warm"), warm, "octodns-sync, YAML to YAML", theirs)
    yield Row("P1", f"{what}, memory", cold.memory, "MiB", "the same", theirs.memory, None)


def plan_tenfold(setup: Setup) -> Iterator[Row]:
    """P3: whether ten times the gateways take ten times as long."""
    small, large = setup.size(10_000), setup.size(100_000)
    projects = [setup.projects.filled(count) for count in (large, small)]
    sides = [_gateways(one, "plan", before=one.forget_parses) for one in projects]
    many, few = compare(sides, setup.runs)
    yield _seconds(("P3", f"plan, {large:,} unchanged"), many, f"ours, {small:,}", few, 12.0)
    yield _memory_each(("P3", "plan, memory a gateway"), (many, large), (few, small), 7.0)


def plan_few(setup: Setup) -> Iterator[Row]:
    """P4: the start of the program, mostly."""
    project = setup.projects.filled(CHANGED)
    plan, theirs = compare(
        [
            _gateways(project, "plan", before=project.forget_parses),
            _octodns(setup.projects.octodns(CHANGED)),
        ],
        setup.runs * 3,
    )
    peer = f"octodns-sync, {CHANGED} records"
    yield _seconds(("P4", f"plan, {CHANGED} gateways, cold"), plan, peer, theirs, 1.5)


def decrypt_files(setup: Setup) -> Iterator[Row]:
    """S1: one secret a file, which is what parallel edits that never conflict lead to."""
    count = setup.size(1_000)
    project = setup.projects.one_secret_a_file(count)
    python, folder = ours("python"), str(project.folder)
    mine, theirs = compare(
        [
            Side([python, "-m", "bench.decrypt", folder], CHECKOUT, project.environ),
            Side(
                [python, "-m", "bench.sops_loop", ours("sops"), folder],
                CHECKOUT,
                {**project.environ, "SOPS_DISABLE_VERSION_CHECK": "1"},
            ),
        ],
        setup.runs,
    )
    what = f"{count:,} sops files decrypted"
    yield _seconds(("S1", what), mine, f"sops, {count:,} runs", theirs, 0.05)


def apply_logins(setup: Setup) -> Iterator[Row]:
    """A2: creates that all log in to a real server, which is a process of its own.

    All are on one mail host, which apply gives half of --parallel: with twice as much it has as
    many logins under way as the loop.
    """
    count, at_once = setup.size(1_000), 64
    with ServerProcess(setup.projects.folder / "mail", accounts(count)) as server:
        port = server.ports[ProtocolType.IMAP, EncryptionMode.TLS]
        project = setup.projects.logins(count, port, server.ca_file)
        loop = ("bench.login_loop", str(port), server.ca_file, str(count), str(at_once))
        half, equal, theirs = compare(
            [
                _apply(project, at_once),
                _apply(project, at_once * 2),
                Side([ours("python"), "-m", *loop], CHECKOUT),
            ],
            setup.runs,
        )
    what = f"apply, {count:,} creates that log in over TLS"
    peer = f"a bare loop, {at_once} at a time"
    yield _seconds(("A2", f"{what}, --parallel {at_once}"), half, peer, theirs, 1.5)
    yield _seconds(("A2", f"{what}, --parallel {at_once * 2}"), equal, peer, theirs)


ROWS: Final[Mapping[str, Callable[[Setup], Iterator[Row]]]] = {
    "V1": validate_all,
    "V2": validate_changed,
    "V3": validate_tenfold,
    "C1": run_hooks,
    "P1": plan_all,
    "P3": plan_tenfold,
    "P4": plan_few,
    "S1": decrypt_files,
    "A1": apply_creates,
    "A2": apply_logins,
    "G1": held_memory,
    "G2": send_messages,
    "G3": one_gateway,
    "G4": all_gateways,
    "G5": storm,
}


class _Changer:
    """Gives files another content before each run, so that no cache knows them."""

    def __init__(self, project: Project, files: list[Path]) -> None:
        self._paths = [project.folder / file for file in files]
        self._runs = 0

    def __call__(self) -> None:
        self._runs += 1
        for path in self._paths:
            text = path.read_text().partition("# ")[0]
            path.write_text(f"{text}# changed {self._runs} times\n")


def _gateways(
    project: Project, *words: str | Path, before: Callable[[], None] = lambda: None
) -> Side:
    return Side([ours("gateways"), *words], project.folder, project.environ, before)


def _apply(project: Project, parallel: int) -> Side:
    words = ("apply", "--yes", "--parallel", str(parallel))
    return _gateways(project, *words, before=project.forget_gateways)


def _check_jsonschema(peer: str, project: Project, files: list[Path]) -> Side:
    """Its cache is of no use to it here: the schema is a file."""
    check = program(peer, "check-jsonschema")
    command: list[str | Path] = [check, "--schemafile", "gateways.schema.json", *files]
    return Side(command, project.folder, project.environ)


def _octodns(folder: Path) -> Side:
    sync = program(OCTODNS, "octodns-sync")
    return Side((sync, "--config-file", "octodns.yaml", "--quiet"), folder)


def _seconds(
    named: tuple[str, str], mine: Figures, peer: str, theirs: Figures, target: float | None = None
) -> Row:
    return Row(*named, mine.seconds, "s", peer, theirs.seconds, target)


def _memory_each(
    named: tuple[str, str],
    many: tuple[Figures, int],
    few: tuple[Figures, int],
    target: float | None,
) -> Row:
    """What each gateway more costs: the program itself weighs the same at any size."""
    (large, large_count), (small, small_count) = many, few
    more = (large.memory.median - small.memory.median) * KIB / (large_count - small_count)
    return Row(*named, Spread.of([more]), "KiB", "a limit", None, target)
