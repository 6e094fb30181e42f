"""docs/commands.md: every command, from the program's own help."""

from collections.abc import Iterator
from typing import Final

import click

from reconciler.cli.root import COMMANDS, root
from scripts.reference.markdown import block, code, joined, page, table, text

COLUMNS: Final = 78  # on a terminal of 80
INTRO: Final = """\
Every command, as `--help` tells of it. Results go to standard output, everything else to standard
error. Instead of `gateways`, `python -m reconciler` does as well.

All commands end with the same [exit codes](exit-codes.md), and what they print with `--format json`
has [published formats](reference-json.md).
"""
GLOBAL: Final = """\
These may stand before or after the command's name. Where one has no meaning for a command, it has
no effect.
"""
PROGRAM: Final = "gateways"


def commands_page() -> str:
    top = _context(root, PROGRAM)
    everywhere = [one for one in _options(root) if not one.is_eager]
    found = list(_commands(top, root))
    contents = table(
        ("command", "does"),
        (
            (f"[`{name}`](#{name.replace(' ', '-')})", text(command.get_short_help_str(200)))
            for name, command, _ in found
        ),
    )
    return page(
        "the program's help",
        "Commands",
        INTRO,
        contents,
        "## Options that every command has\n",
        GLOBAL,
        _option_table(top, everywhere),
        *(
            _section(name, command, context, {_names(one) for one in everywhere})
            for name, command, context in found
        ),
    )


def _context(
    command: click.Command, name: str, above: click.Context | None = None
) -> click.Context:
    settings = {**command.context_settings, "terminal_width": COLUMNS, "max_content_width": COLUMNS}
    return click.Context(command, parent=above, info_name=name, **settings)


def _commands(
    context: click.Context, group: click.Group
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Each command with its whole name and its context; those below a group right after it."""
    for name in COMMANDS if group is root else sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        own = _context(command, name, context)
        yield own.command_path, command, own
        if isinstance(command, click.Group):
            yield from _commands(own, command)


def _options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)]


def _names(option: click.Option) -> str:
    return ", ".join([*option.opts, *option.secondary_opts])


def _option_table(context: click.Context, options: list[click.Option]) -> str:
    return table(("option", "does"), (_option(context, one) for one in options if not one.hidden))


def _option(context: click.Context, option: click.Option) -> tuple[str, str]:
    """As the help shows it, on one line."""
    names, told = option.get_help_record(context) or (_names(option), "")
    return code(names), text(told)


def _section(
    name: str, command: click.Command, context: click.Context, everywhere: set[str]
) -> str:
    own = [one for one in _options(command) if _names(one) not in everywhere]
    formats = next((one.type for one in _options(command) if one.name == "format"), None)
    printed = formats.choices if isinstance(formats, click.Choice) else ()
    summary = f"<code>{name} --help</code>"
    return joined(
        f"## {name}\n",
        text(command.get_short_help_str(10_000)) + "\n",
        block(" ".join((name, *command.collect_usage_pieces(context)))),
        _option_table(context, own),
        f"Formats: {', '.join(code(str(one)) for one in printed)}.\n" if len(printed) > 1 else "",
        f'<details markdown="1"><summary>{summary}</summary>\n',
        block(command.get_help(context)),
        "</details>\n",
    )
