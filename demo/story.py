"""The story that `make demo` tells: from a broken declaration to an apply with nothing left to do.

It runs the real `gateways` on a copy of this repository's declarations, against a mail server of
its own on 127.0.0.1, in a temporary folder. It fails if any command ends otherwise than it should.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from demo.stage import KEY_FILE, SECRETS_FILE, Stage
from demo.teller import Teller
from reconciler.errors import ExitCode

_MISTAKES: Final = """\
gateways:
  newsletter-out:
    protocol_type: SMTP
    host: localhost
    port: 70000
    user_id: news@example.com
    user_password: hunter2
    default_email_address: news@example.com
    encryption_mode: SSL
"""
_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Story:
    """The chapters, in the order in which `tell` tells them."""

    def __init__(self, stage: Stage, teller: Teller) -> None:
        self.stage = stage
        self.teller = teller
        self.star = next(sample for sample in stage.samples if sample.secret)
        self.leaver = stage.samples[-1]

    def tell(self) -> None:
        self.set_the_stage()
        self.break_a_declaration()
        self.validate()
        self.plan_and_apply()
        self.rotate_a_password()
        self.propose_a_change()
        self.work_past_git()
        self.lose_the_server()
        self.remove_a_gateway()
        self.disconnect_a_gateway()
        self.apply_again()
        self.end()

    def gateways(
        self, *words: str, exit_code: ExitCode = ExitCode.DONE, says: str = "", key: bool = True
    ) -> str:
        program = Path(sys.executable).with_name("gateways")
        environ = dict(self.stage.environ)
        if not key:
            del environ[KEY_FILE]
        return self.teller.run(
            [program, *words],
            folder=self.stage.project,
            environ=environ,
            exit_code=exit_code,
            says=[says] if says else [],
        )

    def set_the_stage(self) -> None:
        self.teller.chapter(
            "The stage",
            f"In {self.stage.project} there is a copy of gateways.yaml and gateways.d/. A small "
            "mail server speaks SMTP, IMAP and POP3 on 127.0.0.1, with a fresh CA. The copies are "
            "pointed at it, and its CA's certificate takes the place of theirs; nothing else is "
            "changed:",
        )
        self.teller.show(self.stage.move_to_local_server())
        self.stage.make_secrets()
        self.stage.commit("Point the gateways at the local mail server")
        self.teller.say(
            "The passwords are fresh, too, encrypted by sops to a fresh age key. Anyone may read "
            "the file: names are in clear, values are not.",
        )
        encrypted = (self.stage.project / SECRETS_FILE).read_text().splitlines()
        self.teller.show("\n".join(shorten(line, 60) for line in encrypted[:4]))

    def break_a_declaration(self) -> None:
        self.teller.chapter("A broken declaration", "gateways.d/newsletter.yaml:")
        broken = self.stage.project / "gateways.d/newsletter.yaml"
        broken.write_text(_MISTAKES)
        self.teller.show(_MISTAKES)
        said = self.gateways("validate", exit_code=ExitCode.INVALID, says="newsletter.yaml:5:")
        if "hunter2" in said:
            self.teller.differ("gateways validate", "it printed a password")
        self.teller.say("Every mistake at once, each with its place; the password is not repeated.")
        broken.unlink()

    def validate(self) -> None:
        self.teller.chapter("Mended", "Offline: validate needs neither a key nor the network.")
        self.gateways("validate")

    def plan_and_apply(self) -> None:
        self.teller.chapter("Plan and apply", "What would be done, before anything is done:")
        self.gateways("plan", "--out", "reviewed.plan", says="create")
        self.teller.say(
            "Apply carries out what was reviewed and nothing else. It logs in to the mail server "
            "through each gateway, and waits for it."
        )
        self.gateways("apply", "--yes", "reviewed.plan")
        self.expect_logins(len(self.stage.samples))
        self.gateways("status", says="succeeded")

    def expect_logins(self, number: int) -> None:
        """The mail server's own count must agree with what the command said."""
        counted = self.stage.server.counters()["logins_ok"]
        self.teller.say("", f"The mail server has counted {counted} logins.")
        if counted != number:
            self.teller.differ("the mail server", f"{counted} logins, expected {number}")

    def rotate_a_password(self) -> None:
        secret = self.star.secret or ""
        self.teller.chapter(
            "A rotated password",
            f"{self.star.user} gets another password at the mail server. Which field is to blame?",
        )
        self.stage.rotate_at_server(secret)
        self.gateways("check", self.star.name, exit_code=ExitCode.CONNECTION, says="user_password")
        self.teller.say("Now it goes into the secrets file as well, from stdin:")
        self.teller.show("$ " + shlex.join(self.stage.rotate_in_sops(secret)))
        self.gateways("plan", says="rotated")
        self.gateways("apply", "--yes")
        self.stage.commit("Rotate a password")

    def propose_a_change(self) -> None:
        self.teller.chapter(
            "A pull request",
            "A job that judges pull requests has neither the key nor a token. It compares with "
            "what the base declares, under the base's policy:",
        )
        self.stage.add_line(self.star.name, "protect: true")
        base = ("--policy-from", "HEAD", "--against", "HEAD")
        self.gateways("plan", *base, "--out", "proposed.plan", says="protect", key=False)
        self.teller.say("And this is the comment that reviewers read:")
        self.gateways("comment", "--print", "proposed.plan", says="1 change", key=False)
        self.stage.restore()

    def work_past_git(self) -> None:
        name = self.star.name
        self.teller.chapter("Somebody works past git", "He presses Disconnected, and tells nobody.")
        self.gateways("disconnect", name)
        self.teller.say("The job that runs each night says who it was:")
        self.gateways("drift", exit_code=ExitCode.CHANGES, says=name, key=False)
        self.gateways("apply", "--yes")

    def lose_the_server(self) -> None:
        name = self.star.name
        self.teller.chapter("The mail server goes down", "Its sessions are lost.")
        self.stage.server.stop()
        self.gateways("rebuild", name, exit_code=ExitCode.CONNECTION)
        self.gateways("status", name, says="failed")
        self.teller.say("It comes back. The plan proposes what the console's Rebuild button does.")
        self.stage.server.start()
        self.gateways("plan", says="rebuild")
        self.gateways("apply", "--yes")
        self.gateways("status", name, says="succeeded")

    def remove_a_gateway(self) -> None:
        name = self.leaver.name
        self.teller.chapter(
            "A gateway is removed by mistake",
            f"The block of {name} is gone from its file. Removing must be meant: max_disconnects "
            "is 0.",
        )
        self.stage.remove(name)
        self.teller.show(self.stage.difference())
        self.gateways("plan", exit_code=ExitCode.BLOCKED, says="max_disconnects")
        self.gateways("apply", "--yes", exit_code=ExitCode.BLOCKED)
        self.stage.restore()

    def disconnect_a_gateway(self) -> None:
        self.teller.chapter(
            "A gateway is disconnected on purpose", "The block is back, and says so:"
        )
        self.stage.add_line(self.leaver.name, "state: disconnected")
        self.teller.show(self.stage.difference())
        self.gateways("plan", says="disconnect")
        self.gateways("apply", "--yes")
        self.gateways("status", says="disconnected")

    def apply_again(self) -> None:
        self.teller.chapter("Once more", "Applying what is already so does nothing.")
        self.gateways("plan", "--detailed-exitcode")
        self.gateways("apply", "--yes")

    def end(self) -> None:
        self.teller.chapter(
            "What to try next",
            "gateways init                           a project for your own gateways",
            "gateways check                          tries them on your mail server",
            "gateways --help                         all commands, and the exit codes",
            ".venv/bin/python -m demo.story --keep   this story again; its project stays",
        )


def main() -> int:
    """0 if every command ended as expected, 1 if not, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="python -m demo.story", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the temporary project")
    keep: bool = parser.parse_args().keep
    teller = Teller.on(sys.stdout, os.environ)
    for number in _ENDINGS:
        signal.signal(number, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="gateways-demo-")).resolve()
    try:
        result = _tell(folder, teller)
        if keep:
            _say_how_to_go_on(folder, teller)
    except KeyboardInterrupt:
        teller.say("Interrupted.")
        return ExitCode.INTERRUPTED
    except (RuntimeError, FileNotFoundError, subprocess.SubprocessError) as error:
        teller.say(f"The demo cannot go on: {error}")
        return ExitCode.BUG
    except BrokenPipeError:  # nobody listens any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BUG
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return result


def shorten(line: str, length: int) -> str:
    return line if len(line) <= length else f"{line[:length]}..."


def _tell(folder: Path, teller: Teller) -> int:
    started = time.monotonic()
    with Stage(folder, os.environ) as stage:
        Story(stage, teller).tell()
    seconds = time.monotonic() - started
    if not teller.differences:
        teller.say("", f"Every command ended as expected, in {seconds:.0f} seconds.")
        return ExitCode.DONE
    teller.say("", "The demo did not go as it should:")
    for difference in teller.differences:
        teller.say(f"{difference.command}: {difference.text}")
    return ExitCode.BUG


def _say_how_to_go_on(folder: Path, teller: Teller) -> None:
    program = Path(sys.executable).with_name("gateways")
    mail = folder / "mail"
    server = f"-m demo.mailserver --directory {mail} --accounts {mail}/accounts.json"
    teller.say("The project is kept. To go on with it, start its mail server from this folder:")
    teller.show(f"{sys.executable} {server} &")
    teller.show(f"export SOPS_AGE_KEY_FILE={folder}/age-key.txt")
    teller.show(f"cd {folder}/project && {program} status --refresh")


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not stop the tidying up
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
