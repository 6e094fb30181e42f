"""gateways new: a mailbox's gateways, from its address to files that validate."""

import os
import shutil
import sys
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import (
    Settings,
    choose_target,
    global_options,
    open_project,
    pass_settings,
    say,
)
from reconciler.cli.streams import result
from reconciler.errors import ExitCode, InvalidInput, WrongUsage
from reconciler.model import ProtocolType, Secret

if TYPE_CHECKING:
    from reconciler.cli.new_anchor import Anchors
    from reconciler.cli.new_draft import Mailbox, Surroundings
    from reconciler.cli.new_files import Draftsman
    from reconciler.cli.new_form import Form
    from reconciler.cli.new_servers import Network
    from reconciler.cli.new_trial import Trial
    from reconciler.declarations.sops.sealing import Sealer
    from reconciler.report.problems import Judgement


@click.command("new")
@click.argument("address", required=False)
@click.option(
    "--directions",
    type=click.Choice(["both", "send", "receive"]),
    help="What the mailbox is for.  [default: both]",
)
@click.option("--pop3", is_flag=True, help="Receive by POP3 and not by IMAP.")
@click.option("--name", help="Of the files and the gateways: NAME.yaml, NAME-out, NAME-in.")
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The root to trust, where the server's own is not to be asked for.",
)
@click.option("--resolver", metavar="ADDRESS[:PORT]", help="Ask this DNS server.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; take every proposal.")
@click.option(
    "--password-stdin", is_flag=True, help="With --yes: read the password from standard input."
)
@global_options(("text",))
@pass_settings
def command(  # noqa: PLR0913 - one parameter an option
    settings: Settings,
    *,
    address: str | None,
    directions: str | None,
    pop3: bool,
    name: str | None,
    certificate: Path | None,
    resolver: str | None,
    yes: bool,
    password_stdin: bool,
) -> int:
    """Declare the gateways of a mailbox: a form that tries every answer on the real server.

    \b
    From the address it proposes servers, and says where each proposal comes from: a table of
    well-known providers, the domain's SRV and MX records, or a look at the usual names. It shows
    the server's certificates and saves the root that you confirm, tries the login, and names the
    field to blame if it is refused. At most 3 logins are refused before it stops trying.

    \b
    What it makes, at the end and after you have seen it; nothing is ever overwritten:
      gateways.d/NAME.yaml                     one gateway that sends, one that receives
      gateways.d/certs/ROOT.pem                unless the same root is there
      gateways.d/secrets/NAME.sops.yaml        the password, encrypted, bound to the servers' hosts

    Ctrl-C at any question leaves everything as it was.

    \b
    Examples:
      gateways new
      gateways new support@example.com -t production
      gateways new support@example.com --yes --password-stdin <password.txt
    """
    from reconciler.cli.new_anchor import Anchors
    from reconciler.cli.new_draft import Surroundings
    from reconciler.cli.new_files import Draftsman
    from reconciler.cli.new_form import Form
    from reconciler.cli.new_servers import network_of
    from reconciler.declarations.sops.sealing import sealer_of

    _refuse_unasked(address, yes=yes, password_stdin=password_stdin)
    network = network_of(resolver)
    project = open_project(settings)
    target = choose_target(project, settings)
    around = Surroundings.of(project, target)
    anchors = Anchors(around, certificate)
    if certificate:
        anchors.of_file(certificate)
    writing = Draftsman(around, anchors)
    sealer = sealer_of(project.root, os.environ)
    form = Form(settings, yes)
    _try_sealing(writing, sealer, form)
    if around.errors:
        form.warn("the declarations have errors already: gateways validate shows them")
    mailbox, protocols = _begin(form, around, address, directions, pop3=pop3)
    trial = _discovered(form, around, mailbox, protocols, network, anchors)
    trial.password_from_stdin = password_stdin
    for protocol in protocols:
        draft = trial.server(mailbox, protocol)
        mailbox = replace(mailbox, drafts=(*mailbox.drafts, draft))
    mailbox = _named(form, around, mailbox, name)
    mailbox = trial.credentials(mailbox)
    mailbox, worked = trial.login(mailbox)
    return _finish(form, writing, sealer, mailbox, worked=worked)


def _refuse_unasked(address: str | None, *, yes: bool, password_stdin: bool) -> None:
    """Raise WrongUsage where a question is due and nobody is there to answer it."""
    terminal = sys.stdin.isatty()
    enough = yes and address and (password_stdin or terminal)
    if not (terminal or enough):
        raise WrongUsage(
            "this asks questions, and nobody can be asked here",
            "take every proposal: gateways new ADDRESS --yes --password-stdin",
        )
    if yes and not address:
        raise WrongUsage("--yes needs an address", "gateways new support@example.com --yes")
    if password_stdin and not yes:
        raise WrongUsage(
            "--password-stdin leaves no input for the questions", "add --yes to take every proposal"
        )


def _try_sealing(writing: "Draftsman", sealer: "Sealer", form: "Form") -> None:
    """That the password can be stored, and for whom, is known before anything is asked.

    Raises:
        InvalidInput: the rules name a reader of no other secrets file, and nobody can confirm that.

    """
    from reconciler.cli.new_draft import Mailbox
    from reconciler.declarations.sops.sealing import readers, readers_of

    file = writing.secrets_file(Mailbox("", ()))
    trial = sealer.seal(file, "trial", Secret("no password"), ("example.com",))
    around = writing.around
    known = readers_of(around.project.root, around.target.secrets)
    strangers = sorted(readers(trial) - known) if known else []
    for one in strangers:
        form.warn(f".sops.yaml lets {one} read the password, who can read no other secret yet")
    if strangers and not form.confirm("Is that meant?", proposal=False):
        raise InvalidInput(
            "the rules of .sops.yaml name a reader of no other secrets file: nothing was written",
            "take it out of .sops.yaml; or, if it is meant, sops updatekeys the other files first",
        )


def _begin(
    form: "Form", around: "Surroundings", address: str | None, directions: str | None, *, pop3: bool
) -> tuple["Mailbox", tuple[ProtocolType, ...]]:
    from reconciler.cli.new_draft import Mailbox, address_fault

    if address is not None and (fault := address_fault(address)):
        raise WrongUsage(f"{address!r} is no mail address: {fault}")
    given = address or form.text("Mail address", "", address_fault)
    local, _, domain = given.rpartition("@")
    wanted = directions or form.choice(
        "What is it for", ("both", "send", "receive"), proposal="both"
    )
    sends = () if wanted == "receive" else (ProtocolType.SMTP,)
    receives: tuple[ProtocolType, ...] = ()
    if wanted != "send":
        by = "POP3" if pop3 else form.choice("Receive by", ("IMAP", "POP3"), proposal="IMAP")
        receives = (ProtocolType(by),)
    mailbox = Mailbox(f"{local}@{domain.lower()}", (), labels=around.target.select)
    return mailbox, (*sends, *receives)


def _discovered(  # noqa: PLR0913, PLR0917 - all that a trial is made of
    form: "Form",
    around: "Surroundings",
    mailbox: "Mailbox",
    protocols: tuple[ProtocolType, ...],
    network: "Network",
    anchors: "Anchors",
) -> "Trial":
    from reconciler.cli.new_servers import discover
    from reconciler.cli.new_trial import Trial

    form.head(f"Servers of {mailbox.domain}")
    private = around.target.platform == "embedded"
    findings = discover(form, mailbox.domain, protocols, network, private_hosts=private)
    for note in findings.notes:
        form.warn(note)
    if network.server:
        form.warn(
            f"names are looked up at {network.server.address}, but by check and apply as usual"
        )
    return Trial(form, around, network, findings, anchors)


def _named(form: "Form", around: "Surroundings", mailbox: "Mailbox", name: str | None) -> "Mailbox":
    from reconciler.cli.new_draft import by_schema

    form.head("Names")
    stem = name or around.stem_for(mailbox.address)
    if name and (fault := around.stem_fault(name)):
        raise WrongUsage(f"--name {name}: {fault}")
    if not name:
        stem = form.text("Name of the files", stem, around.stem_fault)
    drafts = []
    for draft in mailbox.drafts:
        proposal = around.name_for(stem, sends=draft.sends)
        way = "sends" if draft.sends else "receives"
        chosen = form.text(f"Name of the gateway that {way}", proposal, around.name_fault)
        around = replace(around, names=around.names | {chosen.lower()})
        drafts.append(replace(draft, name=chosen))
    display = ""
    if any(one.sends for one in drafts):
        question = "Sender's name, before the address in mail of agents (empty: none)"
        display = form.text(question, "", by_schema("default_user_name", optional=True))
    return replace(
        mailbox,
        drafts=tuple(drafts),
        stem=stem,
        secret=around.secret_for(stem),
        display_name=display,
    )


def _finish(
    form: "Form", writing: "Draftsman", sealer: "Sealer", mailbox: "Mailbox", *, worked: bool
) -> int:
    """Show it, ask, write everything or nothing, and judge the project as it is then."""
    from reconciler.cli import new_files
    from reconciler.report.problems import judgement_text

    files = writing.files(mailbox, sealer)
    _preview(form, writing, mailbox, files, sealer.tool)
    if not form.confirm("Write these files?", proposal=True):
        form.tell("nothing was written")
        return ExitCode.DONE
    root = writing.around.project.root
    written = new_files.write(root, files)
    try:
        judgement = new_files.judge(writing.around)
        _refuse_invalid(judgement, files)
    except BaseException:
        written.take_back()
        raise
    result("".join(f"made  {name}\n" for name in sorted(files)))
    form.tell(judgement_text(judgement, form.style).rstrip("\n"))
    if not mailbox.hosts:
        form.warn("the secret is not bound to hosts, since a connection is not encrypted")
    say(form.settings, _next_commands(mailbox, root, files, worked=worked))
    return ExitCode.DONE


def _refuse_invalid(judgement: "Judgement", files: Collection[str]) -> None:
    """Raise InvalidInput where an error stands in one of `files`."""
    from reconciler.model import Severity

    found = [one for one in judgement.problems if one.place.file in files]
    errors = [one for one in found if one.severity is Severity.ERROR]
    if errors:
        raise InvalidInput("what was written is not valid, and was taken back", problems=errors)


def _preview(
    form: "Form", writing: "Draftsman", mailbox: "Mailbox", files: dict[str, bytes], tool: str
) -> None:
    declaration = writing.around.declaration(mailbox.stem)
    form.head(declaration)
    form.tell("\n".join(f"  {text}" for text in writing.declaration(mailbox).splitlines()))
    form.tell()
    for name in sorted(files.keys() - {declaration}):
        sealed = f"  (encrypted by {tool})" if name == writing.secrets_file(mailbox) else ""
        form.tell(f"  and {name}{sealed}")


def _next_commands(mailbox: "Mailbox", root: Path, files: Iterable[str], *, worked: bool) -> str:
    steps = []
    if not worked:
        steps.append("gateways check    # the login has not worked yet")
    if (root / ".git").exists() and shutil.which("git"):
        added = " ".join(sorted({name.partition("/")[0] for name in files}))
        steps += [f"git switch -c add-{mailbox.stem}", f"git add {added} && git commit"]
    steps.append("gateways plan")
    return "\nNext:\n" + "\n".join(f"  {step}" for step in steps)
