"""A command on a terminal of its own, and whoever sits there."""

import os
import pty
import select
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_SECONDS = 20.0


class Terminal:
    """Runs `python -m reconciler ARGUMENTS` in `folder`; `shown` is all that it has printed."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *arguments: str) -> None:
        self.shown = ""
        self._seen = 0
        self._raw = b""
        self._child, self._handle = pty.fork()
        if self._child == 0:
            os.chdir(folder)
            command = [sys.executable, "-m", "reconciler", *arguments]
            os.execve(sys.executable, command, {"TERM": "dumb", **environ})  # noqa: S606

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._handle)  # a command that still runs is hung up on

    def wait_for(self, text: str) -> str:
        """Read until `text` is printed, and return what came before it since the last time."""
        until = time.monotonic() + _SECONDS
        while (at := self.shown.find(text, self._seen)) < 0:
            if not self._read(until):
                raise AssertionError(f"{text!r} was not shown; but:\n{self.shown[self._seen :]}")
        before = self.shown[self._seen : at]
        self._seen = at + len(text)
        return before

    def answer(self, question: str, text: str) -> str:
        """Wait for a question, and type an answer to it; what was shown before the question."""
        before = self.wait_for(question)
        self.wait_for(": ")
        self.press(text + "\n")
        return before

    def press(self, keys: str) -> None:
        os.write(self._handle, keys.encode())

    def fill(self, answers: Sequence[tuple[str, str]]) -> None:
        for question, text in answers:
            self.answer(question, text)

    def interrupt(self) -> int:
        """Press Ctrl-C, and again only where the first came too early; the command's exit code."""
        self.press("\x03")
        until = time.monotonic() + _SECONDS
        while self._read(until, quiet=2):
            pass
        return self._exit_code()

    def end(self) -> int:
        """Wait for the end of the command; its exit code."""
        until = time.monotonic() + _SECONDS
        while self._read(until):
            pass
        return self._exit_code()

    def _exit_code(self) -> int:
        _, status = os.waitpid(self._child, 0)
        return os.waitstatus_to_exitcode(status)

    def _read(self, until: float, *, quiet: float | None = None) -> bool:
        """Read some; False at the end. After so many `quiet` seconds Ctrl-C is pressed."""
        wait = max(0.0, until - time.monotonic())
        if quiet is not None and not select.select([self._handle], [], [], quiet)[0]:
            self.press("\x03")
        if not select.select([self._handle], [], [], wait)[0]:
            raise AssertionError(f"nothing more was shown after:\n{self.shown}")
        try:
            more = os.read(self._handle, 65536)
        except OSError:  # how a terminal says that the program has ended
            return False
        self._raw += more
        self.shown = self._raw.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(more)
