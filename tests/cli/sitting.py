"""Somebody who answers the questions of a command that runs in this process."""

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from unittest import mock

import click.termui

from tests.cli.inside import inside
from tests.cli.world import Ran, World

Answers = Mapping[str, str | Sequence[str]]
"""Part of a question to its answer, or to one for each time that it is asked."""


class Sitter:
    """Answers by what is asked, and takes the proposal of every other question.

    `questions` are all that were asked. At the question with the number `leaves`, counting from 0,
    Ctrl-C is pressed.
    """

    def __init__(self, answers: Answers, *, leaves: int | None = None) -> None:
        self.questions: list[str] = []
        self._answers = {
            part: [answer] if isinstance(answer, str) else list(answer)
            for part, answer in answers.items()
        }
        self._leaves = leaves
        self._seen = 0

    def __call__(self, prompt: str) -> str:
        question = self._echoed() + prompt  # click gives all of it or, once, its last character
        self.questions.append(question)
        assert len(self.questions) < 60, self.questions
        if self._leaves == len(self.questions) - 1:
            raise KeyboardInterrupt
        for part, answers in self._answers.items():
            if part in question:
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return ""

    def _echoed(self) -> str:
        assert isinstance(sys.stderr, io.TextIOWrapper)
        assert isinstance(sys.stderr.buffer, io.BytesIO)
        sys.stderr.flush()
        shown = sys.stderr.buffer.getvalue().decode()
        asked, self._seen = shown[self._seen :], len(shown)
        return asked.rpartition("\n")[2]


def sit(world: World, sitter: Sitter, *arguments: str, **environ: str) -> Ran:
    """Run a command line with somebody at the terminal."""
    with (
        _terminal(),
        mock.patch.multiple(click.termui, visible_prompt_func=sitter, hidden_prompt_func=sitter),
    ):
        return inside(world, *arguments, **environ)


@contextlib.contextmanager
def _terminal() -> Iterator[None]:
    stdin = io.StringIO()
    there = mock.patch.object(stdin, "isatty", return_value=True)
    with there, mock.patch.object(sys, "stdin", stdin):
        yield
