"""Tells the story: narration, commands with their output, and whether each ended as expected."""

import shlex
import subprocess
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

_BOLD, _GREEN, _RED, _DIM = "1", "32", "31", "2"
_STEP_SECONDS: Final = 120
_WIDTH: Final = 92


@dataclass(frozen=True, slots=True)
class Difference:
    """A command that did not end, or did not say, what the story promises."""

    command: str
    text: str


@dataclass(slots=True)
class Teller:
    """Prints to `out`, in colours where `colours` says so, and gathers differences."""

    out: TextIO
    colours: bool
    differences: list[Difference] = field(default_factory=list)
    step: int = 0

    @classmethod
    def on(cls, out: TextIO, environ: Mapping[str, str]) -> "Teller":
        """Colours on a terminal only, and not where NO_COLOR is set."""
        wanted = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        return cls(out, colours=wanted and out.isatty())

    def chapter(self, title: str, *sentences: str) -> None:
        self.step += 1
        self._print(f"\n{self._style(_BOLD, f'{self.step}. {title}')}")
        self.say(*sentences)

    def say(self, *sentences: str) -> None:
        for sentence in sentences:
            wrapped = textwrap.wrap(sentence, _WIDTH, break_long_words=False) or [""]
            self._print(textwrap.indent("\n".join(wrapped), "   "))

    def show(self, text: str) -> None:
        """Text from a file or a command, set in."""
        for line in text.splitlines():
            self._print(f"   {self._style(_DIM, '|')} {line}".rstrip())

    def run(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        environ: Mapping[str, str],
        exit_code: int = 0,
        says: Collection[str] = (),
    ) -> str:
        """Run a command, show it with its output, and note where it ends or speaks otherwise.

        The first word is shown by its name alone. Returns all that was printed.
        """
        words = [str(word) for word in command]
        shown = shlex.join([Path(words[0]).name, *words[1:]])
        self._print(f"\n   {self._style(_BOLD, '$ ' + shown)}")
        done = subprocess.run(
            words,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_STEP_SECONDS,
            check=False,
        )
        self.show(done.stdout)
        self._judge(shown, done, exit_code, says)
        return done.stdout

    def _judge(
        self,
        shown: str,
        done: "subprocess.CompletedProcess[str]",
        exit_code: int,
        says: Collection[str],
    ) -> None:
        if done.returncode == exit_code:
            self._print(f"   {self._style(_GREEN, f'exit code {exit_code}, as expected')}")
        else:
            self.differ(shown, f"exit code {done.returncode}, expected {exit_code}")
        for words in says:
            if words not in done.stdout:
                self.differ(shown, f"its output does not say {words!r}")

    def differ(self, command: str, text: str) -> None:
        self.differences.append(Difference(command, text))
        self._print(f"   {self._style(_RED, text)}")

    def _style(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text

    def _print(self, text: str) -> None:
        print(text, file=self.out, flush=True)
