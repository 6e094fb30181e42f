"""The command line in this process, and everything that it may have left behind.

A subprocess costs a third of a second, most of it to start Python; what a test asks of messages,
exit codes and files is the same without it.
"""

import contextlib
import copy
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from reconciler.cli.border import run
from tests.cli.world import CANARY, Ran, World


def inside(world: World, *arguments: str, **environ: str) -> Ran:
    """Run a command line as `World.run` does, but in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with (
        _surroundings(world, {**world.environ, **environ}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run(list(arguments))
    ran = Ran(int(code), _text(out), _text(err))
    expect_clean(world, ran)
    return ran


def expect_clean(world: World, ran: Ran) -> None:
    """Whatever happened, nobody is shown a traceback or a password, and it was no bug."""
    said = ran.out + ran.err
    assert "Traceback" not in said
    assert CANARY not in said
    assert "this is a bug" not in said
    assert not list(crash_folder(world).iterdir())


def crash_folder(world: World) -> Path:
    """Where this process puts the log of a crash."""
    folder = world.root.parent / "tmp"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def _surroundings(world: World, environ: Mapping[str, str]) -> Iterator[None]:
    with (
        mock.patch.dict(os.environ, environ, clear=True),
        mock.patch.object(tempfile, "tempdir", str(crash_folder(world))),
        contextlib.chdir(world.root),
    ):
        yield


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def copied(world: World, folder: Path) -> World:
    """The same project, platform and home in another folder, to be damaged there."""
    shutil.copytree(world.root.parent, folder, symlinks=True)
    other = copy.copy(world)
    other.root = folder / world.root.name
    other.settings, other.passwords = copy.deepcopy((world.settings, world.passwords))
    other.environ = {**world.environ, "HOME": str(folder / "home")}
    return other


def contents(folder: Path) -> dict[str, str]:
    """Every path below a folder, with its kind, mode and a digest of what it holds."""
    return {path.relative_to(folder).as_posix(): _content(path) for path in folder.rglob("*")}


def _content(path: Path) -> str:
    status = path.lstat()
    kind = oct(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return f"{kind} {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        return f"{kind} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return kind
