"""One key at a time from a terminal, and a password on it for as long as nobody presses a key."""

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final

from reconciler.cli.streams import tell
from reconciler.errors import WrongUsage
from reconciler.model import Secret
from reconciler.report.safe import line

# the alternate screen, which no scrolling back reaches; it is emptied before it is left
_ASIDE: Final = "\x1b[?1049h\x1b[2J\x1b[H"
_BACK: Final = "\x1b[2J\x1b[H\x1b[?1049l"
_ENDS: Final = frozenset({"", "\x04"})
"""A terminal that is gone, and Ctrl-D."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_terminal() -> bool:
    """Whether somebody reads what is printed and can answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@dataclass(slots=True)
class Terminal:
    """Asks for keys and lines. KeyboardInterrupt comes out of a question, and of nothing else."""

    interrupted: bool = False
    waiting: bool = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While inside, a signal ends the question that is open, or else the next one."""
        before = {one: signal.signal(one, self._stop) for one in _SIGNALS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def key(self, question: str, keys: str) -> str:
        """One of `keys`, pressed. Several at once are none: whoever pastes has not read on."""
        while True:
            with self._keys():
                tell(question)
                pressed = self._pressed().lower()
                known = len(pressed) == 1 and pressed in keys
                tell(f"{pressed}\n" if known else f"\n    press one of: {' '.join(keys)}\n")
            if known:
                return pressed

    def line(self, question: str) -> str:
        """What is typed up to Enter, as text that can be stored."""
        tell(question)
        with self._waiting():
            typed = sys.stdin.readline()
        return typed.encode("utf-8", "replace").decode().strip()

    def show(self, name: str, secret: Secret) -> None:
        """Show a password on the terminal alone, until a key is pressed; then it is gone from it.

        Raises:
            WrongUsage: there is no terminal, or nothing can be wiped from it.

        """
        if os.environ.get("TERM", "dumb") == "dumb":
            raise WrongUsage("this terminal cannot wipe a password from its screen again")
        try:
            screen = os.open("/dev/tty", os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            raise WrongUsage("there is no terminal to show a password on") from None
        stopping = signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # it would stay to be seen
        try:
            value = secret.reveal()
            told = "" if line(value) == value else "Its control characters are spelled out.\n\n"
            text = f"The password of secret {line(name)}:\n\n    {line(value)}\n\n{told}"
            with self._keys():
                os.write(screen, f"{_ASIDE}{text}Press any key to wipe it.".encode())
                self._pressed()
        finally:
            os.write(screen, _BACK.encode())
            os.close(screen)
            signal.signal(signal.SIGTSTP, stopping)

    @contextmanager
    def _keys(self) -> Iterator[None]:
        """While inside a key is read without Enter; what was typed before is forgotten."""
        handle = sys.stdin.fileno()
        try:
            before = termios.tcgetattr(handle)
            tty.setcbreak(handle, termios.TCSAFLUSH)
        except termios.error:
            raise KeyboardInterrupt from None  # the terminal is gone
        try:
            yield
        finally:
            with suppress(termios.error):
                termios.tcsetattr(handle, termios.TCSADRAIN, before)

    def _pressed(self) -> str:
        with self._waiting():
            pressed = os.read(sys.stdin.fileno(), 64).decode("utf-8", "replace")
        if pressed in _ENDS:
            raise KeyboardInterrupt
        return pressed

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        try:
            self.waiting = True
            if self.interrupted:
                raise KeyboardInterrupt
            yield
        except OSError:  # a terminal that was hung up
            raise KeyboardInterrupt from None
        finally:
            self.waiting = False

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        if self.waiting:
            raise KeyboardInterrupt
