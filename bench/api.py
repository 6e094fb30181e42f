"""The rows about the HTTP API: one gateway, all of them, and an apply through it."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.measure import Side, compare, compare_printed
from bench.peers import CHECKOUT, ours
from bench.projects import run_python
from bench.service import TOKEN_VARIABLE, ServiceProcess, new_token
from bench.table import Row
from reconciler.platforms.embedded import TENANT

if TYPE_CHECKING:
    from bench.rows import Setup

AT_ONCE: Final = 64
ASKED: Final = 30_000

_TOKENS: Final = 16
"""A token is good for 4,000 requests at once and 1,000 a second after that; no limit is raised."""

_SETTINGS: Final = """\
owner: bench
targets:
  service: {{platform: http, url: "{origin}", tenant: {tenant}, token: {{env: {variable}}}}}
"""


def one_gateway(setup: "Setup") -> Iterator[Row]:
    """G3: what another program asks for, again and again."""
    count, asked = setup.size(10_000), setup.size(ASKED)
    database = setup.projects.paused(count)
    tokens = [new_token(database, TENANT, "read") for _ in range(_TOKENS)]
    folder = setup.projects.folder / "api-one"
    with ServiceProcess(database, folder / "served") as service:
        _keep("one", service.origin, folder / "bare", tokens[0])
        with _bare(folder / "bare") as bare:
            mine, theirs = compare_printed(
                [
                    _side(" ".join(tokens), "api_load", each, asked, AT_ONCE, count)
                    for each in (service.origin, bare)
                ],
                setup.runs,
            )
    what = f"GET of one of {count:,} gateways, {AT_ONCE} at a time"
    yield Row("G3", what, mine, "a second", "bare aiohttp", theirs, 0.5, at_least=True)


def all_gateways(setup: "Setup") -> Iterator[Row]:
    """G4: what every plan begins with."""
    count = setup.size(10_000)
    database = setup.projects.paused(count)
    token = new_token(database, TENANT, "read")
    folder = setup.projects.folder / "api-all"
    with ServiceProcess(database, folder / "served") as service:
        _keep("pages", service.origin, folder / "bare", token)
        with _bare(folder / "bare") as bare:

            def read(kind: str, origin: str) -> Side:
                return _side(token, "api_read", kind, origin)

            first = _side(token, "api_read", "whole", service.origin, before=service.start)
            at_first, whole, pages, theirs, parsed = compare_printed(
                [
                    first,
                    read("whole", service.origin),
                    read("pages", service.origin),
                    read("pages", bare),
                    read("json", bare),
                ],
                setup.runs,
            )
    what = f"snapshot of {count:,} gateways"
    peer = "bare aiohttp, http.client"
    yield Row("G4", f"{what}, read and checked", whole, "s", peer, theirs, 5.0)
    yield Row("G4", f"{what}, read and checked", whole, "s", f"{peer}, json", parsed, None)
    yield Row("G4", f"{what}, transferred only", pages, "s", peer, theirs, 5.0)
    yield Row("G4", f"{what}, the first after a start", at_first, "s", peer, theirs, None)


def apply_creates(setup: "Setup") -> Iterator[Row]:
    """A1: creates that wait for no mail server; each run is on a service that has no gateway."""
    count = setup.size(1_000)
    project = setup.projects.unreachable(count)
    folder = setup.projects.folder / "api-apply"
    database = folder / "empty" / "platform.db"
    token = new_token(database, TENANT, "apply")
    bodies = folder / "bodies.json"
    with ServiceProcess(database, folder / "served") as service:
        settings = _SETTINGS.format(origin=service.origin, tenant=TENANT, variable=TOKEN_VARIABLE)
        (project.folder / "gateways.yaml").write_text(settings)
        run_python("bench.bodies", project.folder, bodies, environ=project.environ)

        def apply(*options: str | int) -> Side:
            words: list[str | Path] = [ours("gateways"), "apply", "--yes", "--no-wait"]
            words += map(str, options)
            environ = {**project.environ, TOKEN_VARIABLE: token}
            return Side(words, project.folder, environ, service.start)

        wide, usual, theirs = compare(
            [
                apply("--parallel", AT_ONCE),
                apply(),
                _side(token, "put_loop", service.origin, bodies, AT_ONCE, before=service.start),
            ],
            setup.runs,
        )
    what = f"apply, {count:,} creates over HTTP"
    peer = f"bare aiohttp, the same PUTs, {AT_ONCE} at a time"
    more = f", --parallel {AT_ONCE}"
    yield Row("A1", what + more, wide.seconds, "s", peer, theirs.seconds, 2.0)
    yield Row("A1", what, usual.seconds, "s", peer, theirs.seconds, None)


def _side(
    token: str, module: str, *words: str | int | Path, before: Callable[[], None] = lambda: None
) -> Side:
    command: list[str | Path] = [ours("python"), "-m", f"bench.{module}", *map(str, words)]
    return Side(command, CHECKOUT, {TOKEN_VARIABLE: token}, before)


def _keep(kind: str, origin: str, folder: Path, token: str) -> None:
    """Have what the service answers in files, for the bare server."""
    run_python("bench.api_read", kind, origin, folder, environ={TOKEN_VARIABLE: token})


@contextmanager
def _bare(folder: Path) -> Iterator[str]:
    """The origin of a bare server of these files, which ends with the `with`."""
    command = [str(ours("python")), "-m", "bench.api_peer", str(folder)]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None  # noqa: S101 - it was asked for
        assert process.stdout is not None  # noqa: S101 - as above
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
