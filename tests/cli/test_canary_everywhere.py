"""No secret in what the remaining commands leave, nor after a kill, nor on a full disk; A37.

Together with `test_canary.py` every command is there, and a new one has to be.
"""

import asyncio
import base64
import contextlib
import json
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from demo.certificates import write_all
from demo.mailserver.process import ServerProcess
from reconciler.cli.root import COMMANDS
from tests.cli import test_canary
from tests.cli.canaries import Scanner
from tests.cli.conftest import ACCOUNTS
from tests.cli.inside import copied
from tests.cli.test_canary import BOUND, FINGERPRINT_KEY, PASSWORD, SECRETS, Watched
from tests.cli.test_new import ADDRESS, IMAP, SMTP, TLS, prepared, srv
from tests.cli.world import USERS, World
from tests.discovery.nameserver import NameServer
from tests.forges.forge_server import TOKEN, ForgeServer

WRONG: Final = "wr0ng/Geheim+ß&1"
OTHER_TOKEN: Final = "other-Zeichen/91+x"
SECONDS: Final = 30.0

# those that do not stand in the lists of `test_canary.py`, and the test that runs them
ALONE: Final = {
    "init": "test_init_with_a_password",
    "disconnect": "test_everything_works",
    "serve": "test_everything_works_on_a_service",
    "adopt": "test_adopting",
    "token": "test_tokens",
    "new": "test_a_new_mailbox",
}


def test_every_command_is_looked_at() -> None:
    """A command that is not here leaves nobody knows what."""
    listed = {arguments[0] for arguments in (*test_canary.EVERY, *test_canary.MAIL)}
    assert listed | set(ALONE) == set(COMMANDS)
    here = {**vars(test_canary), **globals()}
    assert all(callable(here[name]) for name in ALONE.values())


@pytest.fixture(scope="module")
def applied(mail_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project with both gateways connected; each test damages a copy."""
    world = World(tmp_path_factory.mktemp("applied") / "project", mail_server)
    world.passwords = {"one": PASSWORD, "two": {"value": BOUND, "hosts": ["localhost"]}}
    world.write_secrets(fingerprint_key=FINGERPRINT_KEY)
    world.declare({"a": world.gateway(), "b": world.gateway(2, protocol_type="SMTP")})
    mail_server.change_accounts({USERS[0]: PASSWORD, USERS[1]: BOUND})
    assert Watched(world).run("apply", "--yes") == 0
    return world


@pytest.fixture
def watched(applied: World, tmp_path: Path) -> Iterator[Watched]:
    applied.server.change_accounts({USERS[0]: PASSWORD, USERS[1]: BOUND})
    made = Watched(copied(applied, tmp_path / "copy"))
    (made.world.root.parent / "tmp").mkdir(exist_ok=True)
    made.world.environ["TMPDIR"] = str(made.world.root.parent / "tmp")
    yield made
    applied.server.change_accounts(ACCOUNTS)


def change_everything(watched: Watched) -> None:
    """So that an apply has both passwords to read, and to send."""
    world = watched.world
    world.passwords = {"one": BOUND, "two": {"value": PASSWORD, "hosts": ["localhost"]}}
    world.write_secrets(fingerprint_key=FINGERPRINT_KEY)
    world.server.change_accounts({USERS[0]: BOUND, USERS[1]: PASSWORD})


# --- processes: what they were started with, and what is left of them


@contextmanager
def _arguments_watched(scanner: Scanner) -> Iterator[None]:
    """Look at the arguments of every process of this machine, again and again."""
    found: set[str] = set()
    end = threading.Event()

    def look() -> None:
        while not end.wait(0.01):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):  # it has ended
                    found.update(scanner.find(path.read_bytes()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(SECONDS)
    assert found == set()


def _process(
    watched: Watched, *arguments: str, given: bytes | None = None, **more: Any
) -> tuple[int, bytes]:
    """A process of its own: its exit code, and all that it said."""
    world = watched.world
    done = subprocess.run(
        world.command(*arguments),
        cwd=world.root,
        # where a test leaves no space, Python would keep the bytecode that it could not write whole
        env={**world.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
        **more,
    )
    assert watched.scanner.find(done.stdout) == [], arguments
    return done.returncode, done.stdout


def test_no_argument_of_any_process(watched: Watched) -> None:
    change_everything(watched)
    with _arguments_watched(watched.scanner):
        assert _process(watched, "check")[0] == 0
        assert _process(watched, "apply", "--yes", "-v")[0] == 0
    watched.expect_clean_files()


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
def test_killed(watched: Watched, lines: int) -> None:
    """After so many lines of its progress."""
    change_everything(watched)
    world = watched.world
    with subprocess.Popen(
        world.command("apply", "--yes", "--format", "json", "-v"),
        cwd=world.root,
        env=world.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout
        said = b"".join(process.stdout.readline() for _ in range(lines))
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    assert watched.scanner.find(said) == []
    watched.expect_clean_files()


def _no_more_than(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [0, 4096, 40_000])
def test_a_full_disk(watched: Watched, size: int) -> None:
    """No file may be longer than that; what was begun holds nothing either."""
    change_everything(watched)
    for arguments in (
        ("apply", "--yes", "--log-format", "json"),
        ("plan", "--out", "plan.json"),
        ("dump", "--out", "dumped"),
        ("check", "-v"),
    ):
        code, said = _process(watched, *arguments, preexec_fn=partial(_no_more_than, size))
        assert code != 1 or b"cannot be written" in said, said
        assert b"Traceback" not in said
    watched.expect_clean_files()


def test_output_that_cannot_be_written(watched: Watched) -> None:
    with Path("/dev/full").open("wb") as full:
        for arguments in (["apply", "--yes"], ["plan", "-v"], ["check", "--format", "json"]):
            subprocess.run(
                watched.world.command(*arguments),
                cwd=watched.world.root,
                env=watched.world.environ,
                stdout=full,
                stderr=full,
                timeout=60,
                check=False,
            )
    watched.expect_clean_files()


@pytest.mark.parametrize("where", ["a folder", "garbage", "no such file", "a pipe's end"])
def test_a_key_that_cannot_be_read(watched: Watched, where: str) -> None:
    """What stands in the file beside the key, or instead of it, is not quoted."""
    world = watched.world
    path = world.root.parent / "keys.txt"
    if where == "a folder":
        path.mkdir()
    elif where != "no such file":
        path.write_text(f"AGE-SECRET-KEY-1{PASSWORD}\n" if where == "garbage" else "")
        watched.poisoned.add(path)
    world.environ["SOPS_AGE_KEY_FILE"] = str(path)
    del world.environ["SOPS_AGE_KEY"]
    change_everything(watched)
    for command in (["plan", "-v"], ["check"], ["apply", "--yes", "--log-format", "json"]):
        assert watched.run(*command) in {0, 3, 8}
    watched.expect_clean_files()


# --- commands that stand by themselves


def test_adopting(watched: Watched) -> None:
    world = watched.world
    world.settings["owner"] = "others"
    world.write_settings()
    assert watched.run("adopt", "a", "--out", "plan.json", "-v") == 0
    assert watched.run("adopt", "a", "b", "--yes", "--log-format", "json") == 0
    assert watched.run("adopt", "a", "--yes") == 64
    assert watched.run("adopt", "a") == 64
    world.server.change_accounts({USERS[0]: "x", USERS[1]: "y"})
    world.settings["owner"] = "acme"
    world.write_settings()
    assert watched.run("adopt", "a", "--yes", "--format", "json") in {0, 9}
    watched.expect_clean_files()


def test_tokens(watched: Watched) -> None:
    """A token is shown once, and is in no file and no argument after that."""
    database = str(watched.world.root.parent / "served.db")
    made = ("token", "new", "--database", database, "--tenant", "acme", "--role", "apply")
    code, said = _process(watched, *made, "--url", "https://gateways.example.com")
    assert code == 0
    token = next(one for one in said.decode().split() if one.startswith("gwt_"))
    watched.scanner = Scanner({**SECRETS, "token": token, "secret": token.split(".")[1]})
    with _arguments_watched(watched.scanner):
        for arguments in (
            ("list", "-v"),
            ("list", "--format", "json"),
            ("revoke", token[4:16]),
            ("revoke", "nothing"),
        ):
            command, *rest = arguments
            _process(watched, "token", command, "--database", database, *rest)
    # what the database keeps of it is a digest without a key, of 256 random bits
    kept = Scanner({"token": token})
    assert not [one for one in kept.find_in(watched.world.root.parent) if "digest" not in one]


@pytest.mark.parametrize("password", [PASSWORD, WRONG])
def test_a_new_mailbox(tmp_path: Path, password: str) -> None:
    """Tried on a real server and stored with sops, or refused."""
    folder = tmp_path / "chain"
    folder.mkdir()
    write_all(folder, ("localhost", "127.0.0.1"))
    with (
        ServerProcess(folder, {ADDRESS: PASSWORD}) as server,
        NameServer(srv(server.ports, (SMTP, TLS), (IMAP, TLS))) as dns,
    ):
        (tmp_path / "new").mkdir()
        desk = Watched(prepared(server, tmp_path / "new"))
        arguments = (ADDRESS, "--yes", "--password-stdin", "--resolver", dns.address, "-v")
        desk.world.environ["SSL_CERT_FILE"] = str(server.ca_file)
        desk.world.settings["targets"]["local"]["allow_hosts"] = ["localhost"]
        desk.world.write_settings()
        desk.scanner = Scanner({**SECRETS, "wrong": WRONG})
        with _arguments_watched(desk.scanner):
            code, said = _process(desk, "new", *arguments, given=f"{password}\n".encode())
        assert code == (0 if password == PASSWORD else 9), said
        desk.expect_clean_files()


def test_a_runbook(watched: Watched) -> None:
    """Applying to a console prints steps, and no password is among them."""
    world = watched.world
    world.settings["targets"]["console"] = {"platform": "runbook", "record": "console.json"}
    world.settings["default_target"] = "local"
    world.write_settings()
    for arguments in (
        ("plan", "--out", "plan.json"),
        ("apply", "-v", "--log-format", "json"),
        ("apply", "--yes", "--format", "json"),
        ("apply", "plan.json"),
        ("apply", "--checklist", "steps.html"),
        ("apply", "--checklist", "steps.md"),
        ("apply", "--done", "a", "-v"),
        ("status", "--format", "json"),
        ("drift",),
        ("dump",),
    ):
        assert watched.run(*arguments, "-t", "console") in {0, 2, 64}, arguments
    world.write_secrets(one=PASSWORD)  # without a fingerprint key of the usual value
    world.environ["SOPS_AGE_KEY"] = ""
    assert watched.run("apply", "-t", "console") in {0, 8}
    watched.expect_clean_files()


# --- the forge's token


@contextmanager
def _forge() -> Iterator[ForgeServer]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = ForgeServer()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(SECONDS)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


def _jobs(url: str, token: str) -> Mapping[str, dict[str, str]]:
    return {
        "github": {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_REPOSITORY": "example/mail",
            "GITHUB_API_URL": url,
            "GITHUB_TOKEN": token,
        },
        "gitlab": {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": url,
            "CI_PROJECT_ID": "example/mail",
            "CI_MERGE_REQUEST_IID": "7",
            "GITLAB_TOKEN": token,
        },
    }


@pytest.mark.parametrize("forge", ["github", "gitlab"])
def test_commenting(watched: Watched, forge: str) -> None:
    """The token is told to nobody but the forge, whatever that answers."""
    change_everything(watched)
    assert watched.run("plan", "--out", "plan.json") == 0
    watched.scanner = Scanner({**SECRETS, "token": TOKEN, "other": OTHER_TOKEN})
    plain = dict(watched.world.environ)
    with _forge() as server:
        for token, url, code in (
            (TOKEN, server.url, 0),
            (OTHER_TOKEN, server.url, 10),
            (TOKEN, "http://127.0.0.1:9", 10),
            (f"{TOKEN}\nX-Evil: 1", server.url, None),
            (TOKEN, f"http://{TOKEN}@127.0.0.1:9", None),
        ):
            watched.world.environ.clear()
            watched.world.environ.update({**plain, **_jobs(url, token)[forge]})
            for more in (("-v",), ("--format", "json", "--log-format", "json")):
                ended = watched.run("comment", "plan.json", *more)
                assert code in {None, ended}
        server.redirect_to = f"http://127.0.0.1:9/{TOKEN}"
        watched.world.environ.update(_jobs(server.url, TOKEN)[forge])
        assert watched.run("comment", "plan.json", "-v") == 10
        bodies = json.dumps(server.comments)
    assert server.asked["POST"] == 1
    assert watched.scanner.find(bodies) == []
    assert base64.b64encode(PASSWORD.encode()) not in bodies.encode()
    watched.expect_clean_files()
    shutil.rmtree(watched.world.root.parent / "tmp")
