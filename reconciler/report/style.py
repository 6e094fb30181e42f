"""Colours, for terminals only: whoever renders is handed a style, and one of them does nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Paint = Callable[[str], str]


def _plain(text: str) -> str:
    return text


def _ansi(code: str) -> Paint:
    return lambda text: f"\x1b[{code}m{text}\x1b[0m"


@dataclass(frozen=True, slots=True)
class Style:
    bold: Paint = _plain
    dim: Paint = _plain
    good: Paint = _plain
    bad: Paint = _plain
    caution: Paint = _plain
    action: Paint = _plain


PLAIN: Final = Style()
COLOUR: Final = Style(
    bold=_ansi("1"),
    dim=_ansi("2"),
    good=_ansi("32"),
    bad=_ansi("31"),
    caution=_ansi("33"),
    action=_ansi("36"),
)
