"""gateways init: a project that validates, made from nothing."""

import os
import shutil
import sys
from base64 import b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Final

import click

from reconciler.cli import age_keys, scaffold
from reconciler.cli.common import (
    Settings,
    global_options,
    pass_settings,
    refuse_nowhere,
    say,
)
from reconciler.cli.streams import result
from reconciler.errors import ExitCode, WrongUsage
from reconciler.files import unwritable

PLACEHOLDER: Final = "change-me"
LONGEST_PASSWORD: Final = 64
WHERE_SOPS_IS: Final = "get it from your distribution, or by pip as gateways-reconciler[sops]"


@click.command("init")
@click.argument("project", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option("--host", default="mail.example.com", show_default=True, help="The mail server.")
@click.option(
    "--password-stdin", is_flag=True, help="Read the mailbox's password; it is never shown."
)
@click.option(
    "--age-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The age key file to use; it is made if it is missing.",
)
@global_options(("text",))
@pass_settings
def command(
    settings: Settings, project: Path, host: str, age_key: Path | None, *, password_stdin: bool
) -> int:
    """Make a new project in DIR, or here: it validates at once, and nothing is ever overwritten.

    \b
    What it makes:
      gateways.yaml              the settings: whose gateways, and on which platform
      gateways.d/support.yaml    a first declaration: one mailbox, by SMTP and IMAP
      gateways.d/certs/          the root certificate that it trusts
      gateways.d/secrets/        the mailbox's password, encrypted
      .sops.yaml                 who can decrypt it
      .gitignore  .pre-commit-config.yaml  .github/workflows/gateways.yaml
      schema/                    for completion in your editor

    The key that decrypts is an age key outside the repository, in the file where sops looks for it
    ($XDG_CONFIG_HOME/sops/age/keys.txt). A key that is there is used; otherwise one is made.

    Run again, it makes what is missing and leaves the rest as it is: a password file that was
    removed, say. The certificate comes with a new declaration only, or where it is named there.

    \b
    Examples:
      gateways init
      gateways init mail --host mail.example.com --password-stdin
    """
    refuse_nowhere()
    folder = Path(settings.directory) / project
    if folder.exists() and not folder.is_dir():
        raise WrongUsage(f"{folder} is no folder", "name a folder, new or not")
    answers = scaffold.Answers(scaffold.owner_of(folder), scaffold.checked_host(host))
    missing = scaffold.missing_from(folder)
    password = _read_password(missing) if password_stdin else PLACEHOLDER
    recipients, key = _readers(folder, missing, age_key)
    _write(folder, missing, replace(answers, recipients=recipients), password)
    made = Made(folder, missing, key, own_key_file=age_key is not None, placed=password_stdin)
    result(_list_of_files(made))
    if missing:
        say(settings, _next_commands(made))
    return ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a project; `placed` says that its password is a real one."""

    folder: Path
    missing: tuple[str, ...]
    key: age_keys.AgeKey | None
    own_key_file: bool
    placed: bool


def _read_password(missing: tuple[str, ...]) -> str:
    """One line of standard input, asked for without echo on a terminal."""
    if scaffold.SECRETS not in missing:
        raise WrongUsage(
            f"{scaffold.SECRETS} is there, and --password-stdin would have to change it",
            f"sops edit {scaffold.SECRETS}",
        )
    if sys.stdin.isatty():
        password: str = click.prompt("Password of the mailbox", hide_input=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not 1 <= len(password) <= LONGEST_PASSWORD or not password.isprintable():
        raise WrongUsage(
            f"a password is one line of 1 to {LONGEST_PASSWORD} characters, none a control one",
            "printf '%s' THE-PASSWORD | gateways init --password-stdin",
        )
    return password


def _readers(
    folder: Path, missing: tuple[str, ...], age_key: Path | None
) -> tuple[tuple[str, ...], age_keys.AgeKey | None]:
    """Whom to encrypt for: those of a .sops.yaml that is there, or else the age key."""
    if not {scaffold.SECRETS, scaffold.SOPS_SETTINGS} & set(missing):
        return (), None
    if recipients := scaffold.recipients_of(folder):
        return recipients, None
    key = age_keys.find_or_make(age_key, os.environ, folder)
    return (key.recipient,), key


def _write(
    folder: Path, missing: tuple[str, ...], answers: scaffold.Answers, password: str
) -> None:
    for path in missing:
        if path == scaffold.SECRETS:
            data = _secrets_file(answers.recipients, password)
        else:
            data = scaffold.content(path, answers)
        try:
            scaffold.write_new(folder / path, data)
        except OSError as error:
            raise unwritable(folder / path, error) from None


def _secrets_file(recipients: tuple[str, ...], password: str) -> bytes:
    from reconciler.declarations.sops import writer

    fingerprint_key = b64encode(os.urandom(32)).decode()
    values = {"fingerprint_key": fingerprint_key, "support_mailbox": password}
    return writer.encrypt(values, recipients)


def _list_of_files(made: Made) -> str:
    lines = []
    for path in scaffold.paths():
        if not os.path.lexists(made.folder / path):
            continue  # not needed
        lines.append(f"{'made' if path in made.missing else 'kept'}  {path}")
        if path == scaffold.IGNORED and not scaffold.ignores_state(made.folder):
            lines.append("      add the line .gateways/ to it: local state does not belong in git")
    if made.key and made.key.file:
        lines.append(f"{'made' if made.key.made else 'used'}  {made.key.file}")
    if made.key and made.key.made:
        lines.append("      your age key: keep a copy, without it nobody can read the passwords")
    return "\n".join(lines) + "\n"


def _next_commands(made: Made) -> str:
    steps = []
    if made.own_key_file and made.key and made.key.file:
        steps.append(f"export SOPS_AGE_KEY_FILE={quote(str(made.key.file.resolve()))}")
    if made.folder.resolve() != Path.cwd():
        steps.append(f"cd {quote(str(made.folder))}")
    if scaffold.DECLARATION in made.missing:
        steps.append(f"edit {scaffold.DECLARATION}: the host, the user, the addresses")
    if scaffold.SECRETS in made.missing and not made.placed:
        steps.append(f"sops edit {scaffold.SECRETS}    # the password, now {PLACEHOLDER}")
        if not shutil.which("sops"):
            steps.append(f"  (there is no sops on PATH: {WHERE_SOPS_IS})")
    steps += ["gateways check    # does the mail server let us in?", "gateways plan"]
    return "\nNext:\n" + "\n".join(f"  {step}" for step in steps)
