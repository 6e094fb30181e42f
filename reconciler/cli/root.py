"""`gateways` itself: its help, its global options, and the table of its commands."""

from difflib import get_close_matches
from importlib import import_module
from typing import Final, cast

import click

from reconciler import __version__
from reconciler.cli.common import global_options

# command: the module that holds it as `command`
COMMANDS: Final = {
    "init": "reconciler.cli.init",
    "new": "reconciler.cli.new",
    "validate": "reconciler.cli.validate",
    "check": "reconciler.cli.check",
    "plan": "reconciler.cli.plan",
    "show": "reconciler.cli.show",
    "apply": "reconciler.cli.apply",
    "status": "reconciler.cli.status",
    "rebuild": "reconciler.cli.rebuild",
    "disconnect": "reconciler.cli.disconnect",
    "drift": "reconciler.cli.drift",
    "dump": "reconciler.cli.dump",
    "adopt": "reconciler.cli.adopt",
    "send": "reconciler.cli.send",
    "inbox": "reconciler.cli.inbox",
    "serve": "reconciler.cli.serve",
    "token": "reconciler.cli.token",
    "comment": "reconciler.cli.comment",
    "schema": "reconciler.cli.schema",
}

_LONGEST_SENTENCE: Final = 200

EPILOG: Final = """\b
Exit codes:
  0    done, or nothing to do
  1    a bug or an unexpected fault; the details are in a file that is named
  2    there are changes (plan and show with --detailed-exitcode), or drift (drift)
  3    invalid declarations or settings
  4    blocked by the guard
  5    the saved plan is stale or does not match
  6    another apply holds the lock
  7    partly applied
  8    secrets cannot be read
  9    a connection failed
  10   the platform cannot be reached or refuses us
  64   wrong usage
  130  interrupted
Where several hold, the first of 130, 1, 10, 8, 3, 6, 5, 7, 9, 4, 2 is used.

\b
A first round:
  gateways init            make a project
  gateways new             declare a mailbox: a form that tries every answer on the real server
  gateways validate        check every declaration, offline and without a key
  gateways plan            see what would change, and why
  gateways apply           do it, and wait until every gateway has connected
"""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        return cast(click.Command, import_module(module).command) if module else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            for meant in get_close_matches(args[0], COMMANDS, n=1):
                raise click.UsageError(f"{error.message} Did you mean {meant!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The whole first sentence of each, where click would cut it off."""
        rows = [
            (name, command.get_short_help_str(limit=_LONGEST_SENTENCE))
            for name in COMMANDS
            if (command := self.get_command(ctx, name))
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=_Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="gateways")
@global_options()
def root() -> None:
    """Email gateways as code: declare, validate, plan, apply.

    A gateway is one connection to one SMTP, POP3 or IMAP server. Gateways are declared in YAML in
    gateways.d/, and this command makes the platform be as declared.
    """
