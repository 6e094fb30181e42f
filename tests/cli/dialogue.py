"""A command on a terminal of its own, with somebody who reads what it says and presses keys."""

import contextlib
import os
import pty
import re
import select
import signal
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from tests.cli.world import World

SECONDS: Final = 20.0


@dataclass
class Dialogue:
    """Runs `gateways` with `arguments`; `shown` is all that came on the terminal until now."""

    world: World
    arguments: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)
    shown: str = ""
    read: int = 0
    code: int = 0

    def __enter__(self) -> Self:
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.chdir(self.world.root)
            command = self.world.command(*self.arguments)
            environ = {**self.world.environ, "TERM": "xterm", **self.environ}
            os.execve(command[0], command, environ)  # noqa: S606
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            os.close(self.terminal)
        with contextlib.suppress(OSError):
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)

    def until(self, text: str) -> str:
        """Read on until `text` comes; what came since the last time."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown[self.read :]:
            ready = select.select([self.terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready[0], f"{text!r} never came; it said:\n{self.shown[self.read :]}"
            try:
                more = os.read(self.terminal, 4096)
            except OSError:
                more = b""
            assert more, f"it ended before {text!r}; it said:\n{self.shown[self.read :]}"
            self.shown += more.decode()
        start, self.read = self.read, self.shown.index(text, self.read) + len(text)
        return self.shown[start : self.read]

    def press(self, key: str, after: str = "[q]uit: ") -> str:
        """Wait for a question, and press a key; what came before it."""
        told = self.until(after)
        os.write(self.terminal, key.encode())
        return told

    def kill(self, signal_number: int) -> None:
        os.kill(self.child, signal_number)

    def end(self) -> int:
        """Read all that is left; `code` is then how it ended."""
        with contextlib.suppress(OSError):  # how a terminal says that the program has ended
            while more := os.read(self.terminal, 4096):
                self.shown += more.decode()
        _, status = os.waitpid(self.child, 0)
        self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def screen(self) -> str:
        """What is left to see, once the screen aside was shown and emptied."""
        return re.sub("\x1b\\[\\?1049h.*?\x1b\\[\\?1049l", "", self.shown, flags=re.DOTALL)
