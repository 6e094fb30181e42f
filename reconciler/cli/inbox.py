"""gateways inbox."""

import sys
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    notice,
    open_project,
    pass_settings,
    say,
    wait_for,
)
from reconciler.cli.streams import pieces, result
from reconciler.errors import ExitCode, NotThere, WrongUsage
from reconciler.messages import InboxPage
from reconciler.report.safe import json_text, line

if TYPE_CHECKING:
    from reconciler.platforms import Mail

_MOST: Final = 1_000


@click.command("inbox")
@click.argument("name")
@click.option("--after", default="", metavar="CURSOR", help="Only what came after that page.")
@click.option(
    "--limit",
    type=click.IntRange(1, _MOST),
    default=100,
    show_default=True,
    help="So many messages at most.",
)
@click.option("--raw", metavar="ID", help="One message as it came, byte for byte.")
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, name: str, *, after: str, limit: int, raw: str | None) -> int:
    """Messages that came in through a gateway, the oldest that is kept first.

    \b
    What came since:  gateways inbox support-in --after CURSOR
    One as it came:   gateways inbox support-in --raw ID > message.eml

    On the embedded platform nothing receives between commands, so this one fetches what is new,
    once, and then shows it. Exit code 9: it could not be fetched; what is shown came before.
    """
    if raw is not None:
        return wait_for(_write_raw(settings, name, raw))
    page = wait_for(_read(settings, name, after, limit))
    _show(settings, page)
    if page.dropped:
        notice(settings, f"{name}: {page.dropped} messages before these are kept no longer", "warn")
    if page.unfetched:
        notice(settings, f"{name}: nothing was fetched: {line(page.unfetched)}", "error")
        return ExitCode.CONNECTION
    return ExitCode.DONE


def _show(settings: Settings, page: InboxPage) -> None:
    from reconciler.report.inbox import inbox_data, inbox_text

    if settings.json:
        result(json_text(inbox_data(page)) + "\n")
        return
    result(inbox_text(page, settings.style()))
    say(settings, f"for what comes next: --after {page.cursor}")


async def _read(settings: Settings, name: str, after: str, limit: int) -> InboxPage:
    mail = _open(settings)
    try:
        return await mail.inbox(name, after=after, limit=limit)
    except NotThere:
        raise _no_gateway(name) from None
    finally:
        await mail.close()


async def _write_raw(settings: Settings, name: str, message_id: str) -> int:
    if sys.stdout.isatty():
        raise WrongUsage(
            "a message may hold anything that would act on this terminal",
            f"send it to a file: gateways inbox {name} --raw {message_id} > message.eml",
        )
    mail = _open(settings)
    try:
        await pieces(mail.raw(name, message_id))
    except NotThere as error:
        raise WrongUsage(error.message, error.hint) from None
    finally:
        await mail.close()
    return ExitCode.DONE


def _open(settings: Settings) -> "Mail":
    from reconciler.platforms import open_mail

    project = open_project(settings)
    return open_mail(choose_target(project, settings), project.root)


def _no_gateway(name: str) -> WrongUsage:
    return WrongUsage(f"there is no gateway {name!r}", "gateways status lists them")
