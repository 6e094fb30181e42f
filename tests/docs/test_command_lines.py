"""Every command line that the documents show is one that the program takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest
from markdown_it import MarkdownIt

from reconciler.cli.root import root

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")]
)
MARKDOWN: Final = MarkdownIt("commonmark")
START: Final = re.compile(r"(?:^|[;&|(]\s*)gateways (?=[a-z-])", re.MULTILINE)
END: Final = {"|", "||", "&&", "&", ";", ">", ">>", "2>", "<", ")"}


def blocks(text: str) -> Iterator[str]:
    """What is typed: scripts, and of a terminal's the lines after a prompt."""
    for token in MARKDOWN.parse(text):
        content = token.content.replace("\\\n", " ")
        if token.type == "fence" and token.info.strip() in {"sh", "bash"}:
            yield content
        elif token.type == "fence" and token.info.strip() == "console":
            yield "\n".join(re.findall(r"^\$ (.*)", content, re.MULTILINE))


def command_lines(block: str) -> Iterator[list[str]]:
    for match in START.finditer(block):
        yield list(words(block[match.end() :].partition("\n")[0]))


def words(line: str) -> Iterator[str]:
    """Those of one command; what follows it in the shell's line is not its own."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in lexer:
        if word in END or set(word) <= set("();<>|&"):
            return
        yield word


def fault(arguments: list[str]) -> str | None:
    """Why the program would refuse the line, or None. No value is used, only its form."""
    command: click.Command = root
    context = click.Context(root, info_name="gateways", **root.context_settings)
    rest = arguments
    try:
        while isinstance(command, click.Group):
            _, rest, _ = command.make_parser(context).parse_args(list(rest))
            if not rest:
                return None
            found = command.get_command(context, rest[0])
            if found is None:
                return f"there is no command {rest[0]}"
            command, rest = found, rest[1:]
            context = click.Context(command, parent=context, info_name=command.name)
        given, left, _ = command.make_parser(context).parse_args(list(rest))
        for parameter in command.params:
            value = given.get(parameter.name or "")
            if isinstance(parameter.type, click.Choice) and isinstance(value, str):
                parameter.type.convert(value, parameter, context)
    except click.UsageError as error:
        return error.format_message()
    return f"{left} is too much" if left else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_command_lines_are_understood(page: Path) -> None:
    lines = [line for block in blocks(page.read_text()) for line in command_lines(block)]
    assert [(line, told) for line in lines if (told := fault(line))] == []


def test_lines_are_found() -> None:
    typed = "$ cd a && gateways plan \\\n    --out b   # c\n$ gateways show b | less\n"
    text = f"```console\n{typed}gateways said\n```\n"
    lines = [line for block in blocks(text) for line in command_lines(block)]
    assert lines == [["plan", "--out", "b"], ["show", "b"]]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("plan --no-such-option", "No such option"),
        ("no-such-command", "there is no command"),
        ("plan --out", "requires an argument"),
        ("plan --format yaml", "is not one of"),
        ("token no-such", "there is no command"),
        ("show a b", "is too much"),
    ],
)
def test_the_check_can_fail(line: str, told: str) -> None:
    assert told in (fault(line.split()) or "")
