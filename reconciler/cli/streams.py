"""Standard input, output and error, in whatever state they were handed over."""

import contextlib
import io
import os
import sys
from collections.abc import AsyncIterator
from typing import IO

import click

from reconciler.errors import GatewaysError


def prepare() -> None:
    """Make all three usable.

    One that is closed reads as empty, or takes what is written and forgets it. Whatever the
    output's encoding cannot hold is spelled out, so that no name can end a command.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(handle, mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def result(text: str) -> None:
    """Print a command's result to standard output, which holds nothing else.

    Whoever stops reading has seen enough: the command ends as it would have.

    Raises:
        GatewaysError: it cannot be written, for example because the disk is full.

    """
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        raise GatewaysError(
            f"the result cannot be written to standard output: {error.strerror}"
        ) from None


async def pieces(content: AsyncIterator[bytes]) -> None:
    """Print bytes as they come; whoever stops reading has seen enough.

    Raises:
        GatewaysError: they cannot be written, or not be had.

    """
    try:
        async for piece in content:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        raise GatewaysError(
            f"the result cannot be written to standard output: {error.strerror}"
        ) from None


def tell(text: str) -> None:
    """Print what has been done; that nobody can read it does not stop the rest of the work."""
    try:
        click.echo(text, nl=False)
    except OSError as error:
        _silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            note(f"standard output cannot be written, so the rest is not shown: {error.strerror}")


def note(text: str) -> None:
    """Print a line to standard error, if that can be."""
    try:
        click.echo(text, err=True)
    except OSError:
        _silence(sys.stderr)


def _silence(stream: IO[str]) -> None:
    """Send what is still to come nowhere; or else Python would complain once more at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
