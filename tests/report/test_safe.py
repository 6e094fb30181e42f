"""What of a text reaches a terminal."""

from reconciler.report.safe import painted_lines
from reconciler.report.style import COLOUR


def test_colours_stay_and_nothing_else_does() -> None:
    text = f"{COLOUR.bold('Names')} of \x1b[2J\x1b]0;title\x07\u202e\n  {COLOUR.bad('no')}"
    assert painted_lines(text) == (
        "\x1b[1mNames\x1b[0m of \\u001b[2J\\u001b]0;title\\u0007\\u202e\n  \x1b[31mno\x1b[0m"
    )
