"""gateways send."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli.common import (
    Seconds,
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    say,
    wait_for,
)
from reconciler.cli.streams import result
from reconciler.errors import ExitCode, NotThere, WrongUsage
from reconciler.messages import MessageKind, MessageState, SentMessage
from reconciler.report.safe import json_text

if TYPE_CHECKING:
    from reconciler.platforms import Mail

_POLL_SECONDS: Final = 0.2
_EMBEDDED: Final = "embedded"
_MESSAGE: Final = (
    "to",
    "cc",
    "bcc",
    "subject",
    "text",
    "text_file",
    "html",
    "attach",
    "kind",
    "reply_to",
    "in_reply_to",
)
_INSTEAD: Final = ("show", "resend", "give_up")


@click.command("send")
@click.argument("name")
@click.option("--to", multiple=True, metavar="ADDRESS", help="A recipient; may be repeated.")
@click.option("--cc", multiple=True, metavar="ADDRESS", help="A recipient of a copy.")
@click.option("--bcc", multiple=True, metavar="ADDRESS", help="One whom the others do not see.")
@click.option("--subject", metavar="TEXT", help="What it is about.")
@click.option("--text", metavar="TEXT", help="The message.")
@click.option("--text-file", metavar="FILE", help="A file that holds it, in UTF-8; - is stdin.")
@click.option("--html", metavar="FILE", help="The same message as HTML.")
@click.option("--attach", multiple=True, metavar="FILE", help="A file that goes with it.")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in MessageKind]),
    help="agent: From has the Default User Name; notification: only the address.",
)
@click.option("--reply-to", metavar="ADDRESS", help="Where answers go.")
@click.option("--in-reply-to", metavar="ID", help="The Message-ID that this answers.")
@click.option("--key", metavar="KEY", help="The same key never sends a message twice.")
@click.option("--wait", is_flag=True, help="Wait until it is sent, or has been refused.")
@click.option(
    "--timeout", type=Seconds(min=0), default=60.0, show_default=True, help="Seconds of --wait."
)
@click.option("--show", metavar="ID", help="Instead: say what has become of a message.")
@click.option("--resend", metavar="ID", help="Instead: send one again whose fate is unknown.")
@click.option("--give-up", metavar="ID", help="Instead: make no further attempt at one.")
@global_options(("text", "json"))
@pass_settings
def command(settings: Settings, /, **options: Any) -> int:
    """Send a message through a gateway.

    \b
    As an agent:  gateways send support-out --kind agent --to ann@example.com \\
                    --subject "Your question" --text-file answer.txt
    Later:        gateways send support-out --show ID

    Over HTTP the service has the message on disk when this returns, and sends it. On the embedded
    platform nothing sends between commands: this one tries once, and takes along what was left
    queued before. Exit code 9: it was not sent, or not to everybody; what is queued stays so.
    """
    return wait_for(_send(settings, options))


async def _send(settings: Settings, options: dict[str, Any]) -> int:
    from reconciler.platforms import open_mail

    project = open_project(settings)
    target = choose_target(project, settings)
    mail = open_mail(target, project.root)
    waits = options["wait"] or target.platform == _EMBEDDED
    try:
        sent = await _done(mail, settings, options)
        if options["wait"]:
            sent = await _settled(mail, sent, options["timeout"])
    except NotThere as error:
        raise WrongUsage(error.message, error.hint) from None
    finally:
        await mail.close()
    _tell(settings, sent, kept=target.platform != _EMBEDDED)
    if sent.state is MessageState.QUEUED:
        return ExitCode.CONNECTION if waits and not options["show"] else ExitCode.DONE
    done = sent.state in {MessageState.SENT, MessageState.HELD} or options["give_up"]
    return ExitCode.DONE if done else ExitCode.CONNECTION


async def _done(mail: "Mail", settings: Settings, options: dict[str, Any]) -> SentMessage:
    """What the options ask for: a message to be sent, or something about an earlier one."""
    import uuid

    from reconciler.cli.actor import current_actor
    from reconciler.cli.message import Written, message_of

    name: str = options["name"]
    written = Written(Path(settings.directory), **{option: options[option] for option in _MESSAGE})
    instead = [option for option in _INSTEAD if options[option] is not None]
    if len(instead) > 1 or (instead and not written.empty):
        raise WrongUsage("--show, --resend and --give-up stand alone, without a message")
    match instead:
        case ["show"]:
            return await mail.sent(name, options["show"])
        case ["resend"]:
            return await mail.resend(name, options["resend"], actor=current_actor())
        case ["give_up"]:
            return await mail.give_up(name, options["give_up"], actor=current_actor())
        case _:
            key = options["key"] or str(uuid.uuid4())
            return await mail.send(name, message_of(written), key=key)


async def _settled(mail: "Mail", sent: SentMessage, seconds: float) -> SentMessage:
    """Wait until a message is settled or was refused for the first time; a held one is not."""
    import asyncio

    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while _moves(sent) and loop.time() < end:
        await asyncio.sleep(_POLL_SECONDS)
        sent = await mail.sent(sent.gateway, sent.id)
    return sent


def _moves(sent: SentMessage) -> bool:
    refused = any(one.attempts for one in sent.recipients)
    return sent.state is MessageState.QUEUED and not refused


def _tell(settings: Settings, sent: SentMessage, *, kept: bool) -> None:
    from reconciler.report.sent import sent_data, sent_hint, sent_text

    if settings.json:
        result(json_text(sent_data(sent)) + "\n")
    else:
        result(sent_text(sent, settings.style()))
    hint = sent_hint(sent, kept=kept)
    if hint:
        say(settings, f"  hint: {hint}")
