"""No secret is in anything that a command says, stores, or starts; A37, and goal of every fault.

The secrets are known here, and looked for in every form: see `canaries.py`.
"""

import base64
import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from pyrage import x25519

from demo.mailserver.process import ServerProcess
from reconciler.clock import now
from reconciler.service.access import Tokens
from reconciler.service.database import open_writable
from reconciler.service.upgrade import transaction
from tests.cli import inside as inside_module
from tests.cli.canaries import Scanner
from tests.cli.conftest import ACCOUNTS
from tests.cli.inside import copied, crash_folder, inside
from tests.cli.served import Served, served
from tests.cli.world import USERS, World
from tests.declarations.sops_support import real_sops, sops

PASSWORD = "pÄss/w0rd+'7f3a&91?\\\"=q"  # every encoding changes it
BOUND = "bound~Geheim/83+c1&77ß"
FINGERPRINT_KEY = "fk/9d27+31aa=50c4&88e1ßß"
LITERAL = "literal/77+b3&ä'c9"
SECRETS = {"one": PASSWORD, "two": BOUND, "key": FINGERPRINT_KEY, "literal": LITERAL}


# --- the scanner finds what it is there to find


@pytest.mark.parametrize(
    "hidden",
    [
        PASSWORD.encode(),
        PASSWORD.encode("utf-16"),
        PASSWORD.encode().hex().encode(),
        PASSWORD.encode().hex().upper().encode(),
        base64.b64encode(PASSWORD.encode()),
        base64.b64encode(b"x" + PASSWORD.encode() + b"yz"),
        base64.b64encode(b"xy" + PASSWORD.encode() + b"z"),
        base64.urlsafe_b64encode(b"xyz" + PASSWORD.encode()),
        base64.b64encode(b"\0" + USERS[0].encode() + b"\0" + PASSWORD.encode()),
        urllib.parse.quote(PASSWORD).encode(),
        urllib.parse.urlencode({"p": PASSWORD}).encode(),
        json.dumps({"p": PASSWORD}).encode(),
        json.dumps({"p": PASSWORD}, ensure_ascii=False).encode(),
        repr({"p": PASSWORD}).encode(),
        repr(PASSWORD.encode()).encode(),
        hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest().encode(),
        hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest(),
        hashlib.sha256(PASSWORD.encode()).hexdigest().upper().encode(),
        hashlib.sha256(PASSWORD.encode() + b"\n").hexdigest().encode(),
        base64.b64encode(hashlib.sha256(PASSWORD.encode()).digest()),
    ],
)
def test_the_scanner_finds_every_form(hidden: bytes) -> None:
    found = Scanner(SECRETS).find(b"before " + hidden + b" after")
    assert found
    assert all(name.startswith("one ") for name in found)


def test_the_scanner_finds_files_and_nothing_where_nothing_is(tmp_path: Path) -> None:
    scanner = Scanner(SECRETS)
    (tmp_path / "clean").write_bytes(bytes(range(256)) * 100)
    assert scanner.find_in(tmp_path) == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a/dirty").write_text(PASSWORD)
    assert scanner.find_in(tmp_path) == ["a/dirty: one (raw)"]
    assert scanner.find_in(tmp_path, but=frozenset({tmp_path / "a/dirty"})) == []


# --- the world that it looks at


@dataclass
class Watched:
    """A project, and a scanner over all that its commands say and leave.

    `poisoned` are the files into which a test itself wrote a secret.
    """

    world: World
    poisoned: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        age = self.world.environ["SOPS_AGE_KEY"]
        self.scanner = Scanner({**SECRETS, "age": age, "age body": age.rpartition("1")[2]})

    def run(self, *arguments: str) -> int:
        ran = inside(self.world, *arguments)
        assert self.scanner.find(ran.out) == [], arguments
        assert self.scanner.find(ran.err) == [], arguments
        return ran.code

    def expect_clean_files(self) -> None:
        """Project, saved plans, database with what lies beside it, home with the parse cache."""
        found = self.scanner.find_in(self.world.root.parent, but=frozenset(self.poisoned))
        assert found == []


@pytest.fixture(scope="module")
def connected(mail_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    world = World(tmp_path_factory.mktemp("canary") / "project", mail_server)
    world.passwords = {"one": PASSWORD, "two": {"value": BOUND, "hosts": ["localhost"]}}
    world.write_secrets(fingerprint_key=FINGERPRINT_KEY)
    world.settings["targets"]["local"]["check_logins"] = ["localhost"]
    world.write_settings()
    world.declare({"a": world.gateway(), "b": world.gateway(2, protocol_type="SMTP")})
    mail_server.change_accounts({USERS[0]: PASSWORD, USERS[1]: BOUND})
    watched = Watched(world)
    assert watched.run("apply", "--yes") == 0
    return watched


@pytest.fixture
def watched(connected: Watched, tmp_path: Path) -> Iterator[Watched]:
    # other tests of the session have accounts of their own
    connected.world.server.change_accounts({USERS[0]: PASSWORD, USERS[1]: BOUND})
    yield Watched(copied(connected.world, tmp_path / "copy"))
    connected.world.server.change_accounts(ACCOUNTS)


EVERY = [
    ["validate"],
    ["validate", "--format", "json"],
    ["validate", "--format", "github"],
    ["plan"],
    ["plan", "-v"],
    ["plan", "--format", "json", "--out", "plan.json"],
    ["plan", "--format", "markdown"],
    ["plan", "--refresh"],
    ["plan", "--check", "login", "-v", "--out", "checked.json"],
    ["show", "plan.json"],
    ["show", "plan.json", "--format", "json"],
    ["show", "plan.json", "--format", "markdown"],
    ["check", "-v"],
    ["check", "--format", "json"],
    ["apply", "--yes", "-v", "--log-format", "json"],
    ["status"],
    ["status", "--format", "json", "--refresh"],
    ["rebuild", "a", "-v"],
    ["apply", "--yes", "--format", "json"],
    ["drift"],
    ["drift", "-v", "--format", "json"],
    ["dump"],
    ["dump", "--all", "--format", "json"],
    ["dump", "--out", "dumped"],
    ["schema", "plan"],
    ["comment", "plan.json", "--print"],
    ["comment", "plan.json", "--print", "--format", "json", "-v"],
]
TO: Final = ("--to", USERS[0], "--kind", "notification")
MAIL: Final = [
    ["send", "b", *TO, "--subject", "s", "--text", "t", "-v"],
    ["send", "b", *TO, "--subject", "s", "--text", "t", "--format", "json"],
    ["inbox", "a"],
    ["inbox", "a", "--format", "json", "-v", "--log-format", "json"],
]
"""On a service they need a token of another role."""


def _every_command(watched: Watched) -> set[int]:
    here = "local" in watched.world.settings["targets"]
    codes = {watched.run(*arguments) for arguments in (*EVERY, *(MAIL if here else ()))}
    codes.add(watched.run("disconnect", "b", "--log-format", "json"))
    watched.expect_clean_files()
    return codes


# --- success


def test_everything_works(watched: Watched) -> None:
    assert _every_command(watched) == {0}
    assert (watched.world.root / "plan.json").exists()


def test_everything_is_new(watched: Watched) -> None:
    shutil.rmtree(watched.world.root / ".gateways")
    assert _every_command(watched) == {0}


def test_passwords_are_rotated(watched: Watched) -> None:
    world = watched.world
    world.passwords = {"one": BOUND, "two": {"value": PASSWORD, "hosts": ["localhost"]}}
    world.write_secrets(fingerprint_key=FINGERPRINT_KEY)
    world.server.change_accounts({USERS[0]: BOUND, USERS[1]: PASSWORD})
    assert _every_command(watched) == {0}


def test_init_with_a_password(watched: Watched) -> None:
    home = watched.world.root.parent / "home"
    command = watched.world.command(
        "init", "made", "--password-stdin", "--age-key", str(home / "keys.txt")
    )
    done = subprocess.run(
        command,
        cwd=watched.world.root.parent,
        env=watched.world.environ,
        input=PASSWORD.encode() + b"\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = (home / "keys.txt").read_text().splitlines()[-1]
    scanner = Scanner({**SECRETS, "made": made})
    assert scanner.find(done.stdout + done.stderr) == []
    found = scanner.find_in(watched.world.root.parent, but=frozenset({home / "keys.txt"}))
    assert found == []


# --- every way in which it can fail


def _secrets_file(watched: Watched) -> Path:
    return watched.world.root / "gateways.d/secrets/main.sops.yaml"


def _poison(watched: Watched, path: Path, text: str) -> None:
    path.write_text(text)
    watched.poisoned.add(path)


def _refused(watched: Watched) -> None:
    watched.world.server.change_accounts({USERS[0]: "x", USERS[1]: "y"})


def _wrong_key(watched: Watched) -> None:
    key = str(x25519.Identity.generate())
    watched.world.environ["SOPS_AGE_KEY"] = key
    watched.scanner = Scanner({**SECRETS, "age": key})


def _tampered(watched: Watched) -> None:
    path = _secrets_file(watched)
    path.write_text(
        path.read_text().replace("one: ENC[AES256_GCM,data:", "one: ENC[AES256_GCM,data:AA", 1)
    )


def _plain_file(watched: Watched) -> None:
    values = {"one": PASSWORD, "two": BOUND, "fingerprint_key": FINGERPRINT_KEY}
    text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items())
    _poison(watched, _secrets_file(watched), text)


def _plain_value(watched: Watched) -> None:
    text = _secrets_file(watched).read_text()
    value = json.dumps(PASSWORD).replace("\\", "\\\\")
    _poison(watched, _secrets_file(watched), re.sub("(?m)^one: .*$", f"one: {value}", text))


def _broken_yaml(watched: Watched) -> None:
    _poison(watched, _secrets_file(watched), f"one: '{BOUND}\ntwo: [\n")


def _literal(line: str) -> Callable[[Watched], None]:
    def damage(watched: Watched) -> None:
        text = f"gateways:\n  x:\n    protocol_type: IMAP\n    host: h\n    {line}\n"
        _poison(watched, watched.world.root / "gateways.d/x.yaml", text)

    return damage


def _password(value: str) -> Callable[[Watched], None]:
    def damage(watched: Watched) -> None:
        watched.world.passwords["one"] = value
        watched.world.write_secrets(fingerprint_key=FINGERPRINT_KEY)

    return damage


def _bound_elsewhere(watched: Watched) -> None:
    watched.world.passwords["two"] = {"value": BOUND, "hosts": ["mail.example.com"]}
    watched.world.write_secrets(fingerprint_key=FINGERPRINT_KEY)


def _key_in_settings(watched: Watched) -> None:
    text = (watched.world.root / "gateways.yaml").read_text()
    _poison(
        watched,
        watched.world.root / "gateways.yaml",
        text + f"fingerprint_key: {json.dumps(FINGERPRINT_KEY)}\n",
    )


def _vault_key_gone(watched: Watched) -> None:
    (watched.world.root / ".gateways/platform.db.key").unlink()


def _database_damaged(watched: Watched) -> None:
    path = watched.world.root / ".gateways/platform.db"
    path.write_bytes(path.read_bytes()[:5000])


def _database_moved(watched: Watched) -> None:
    """A sealed password under another gateway's name."""
    connection = sqlite3.connect(watched.world.root / ".gateways/platform.db")
    with connection:
        rows = connection.execute("SELECT name, password FROM gateways").fetchall()
        for (name, _), (_, sealed) in zip(rows, reversed(rows), strict=True):
            connection.execute("UPDATE gateways SET password = ? WHERE name = ?", (sealed, name))
    connection.close()


FAILURES: dict[str, Callable[[Watched], None]] = {
    "the server refuses": _refused,
    "a wrong key": _wrong_key,
    "no key": lambda watched: watched.world.environ.update(SOPS_AGE_KEY=""),
    "a tampered value": _tampered,
    "a plain file": _plain_file,
    "a plain value": _plain_value,
    "a secrets file that is no YAML": _broken_yaml,
    "a literal password": _literal(f"user_password: {json.dumps(LITERAL)}"),
    "a literal as a secret's name": _literal(f"user_password: {{secret: {json.dumps(LITERAL)}}}"),
    "a literal in a map": _literal(f"user_password: {{value: {json.dumps(LITERAL)}}}"),
    "a literal in a list": _literal(f"user_password: [{json.dumps(LITERAL)}]"),
    "a literal under another key": _literal(f"password: {json.dumps(LITERAL)}"),
    "a literal that is never closed": _literal(f'user_password: "{LITERAL}'),
    "a literal with a template": _literal(f"user_password: {json.dumps('{{ x }}' + LITERAL)}"),
    "too long": _password((PASSWORD + "x" * 65)[:65]),
    "with a line break": _password(PASSWORD + "\n"),
    "with white space": _password(PASSWORD + " "),
    "bound to another host": _bound_elsewhere,
    "a key in the settings": _key_in_settings,
    "no key of the database": _vault_key_gone,
    "a damaged database": _database_damaged,
    "passwords swapped in the database": _database_moved,
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure(watched: Watched, name: str) -> None:
    """Faults A37, P19, P20."""
    FAILURES[name](watched)
    codes = _every_command(watched)
    assert codes - {0}, "something fails"
    assert 1 not in codes


def test_drift_and_dump_that_are_refused(watched: Watched) -> None:
    """A password that was set elsewhere, names that are none, files that are there already."""
    world = watched.world
    for arguments in (
        ["init", "-q"],
        ["add", "gateways.yaml", "gateways.d"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", *arguments], cwd=world.root, env=world.environ, check=True)
    sealed = _secrets_file(watched).read_bytes()
    world.passwords = {"one": BOUND, "two": {"value": BOUND, "hosts": ["localhost"]}}
    world.write_secrets(fingerprint_key=FINGERPRINT_KEY)
    world.server.change_accounts({USERS[0]: BOUND, USERS[1]: BOUND})
    assert watched.run("apply", "--yes") == 0
    _secrets_file(watched).write_bytes(sealed)
    assert watched.run("drift") == watched.run("drift", "--format", "json") == 2
    assert watched.run("drift", "nobody") == watched.run("dump", "nobody") == 64
    assert watched.run("dump", "--out", "out") == 0
    assert watched.run("dump", "--out", "out", "-v", "--log-format", "json") == 64
    watched.expect_clean_files()


def test_a_bug_with_secrets_at_hand(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A37: neither the log of a crash nor what is said of it holds a value or a message."""

    def crash(*_: object, **__: object) -> None:
        local = PASSWORD
        raise RuntimeError(f"{local} {BOUND}")

    monkeypatch.setattr("reconciler.engine.diff.diff", crash)
    monkeypatch.setattr(inside_module, "expect_clean", lambda *_: None)
    assert watched.run("plan") == 1
    logs = list(crash_folder(watched.world).iterdir())
    assert len(logs) == 1
    assert "RuntimeError" in logs[0].read_text()
    assert logs[0].stat().st_mode & 0o077 == 0
    watched.expect_clean_files()


# --- what it writes and starts, byte by byte


def _bytes_of(trace: str) -> bytes:
    """What strace printed in hexadecimal, as bytes again; one gap for what is not data."""
    parts = re.findall(r'"((?:\\x[0-9a-f]{2})*)"', trace)
    return b" ".join(bytes.fromhex(part.replace("\\x", "")) for part in parts)


def _traced(watched: Watched, calls: str, *arguments: str) -> tuple[int, list[str]]:
    world = watched.world
    log = world.root.parent / "trace"
    done = subprocess.run(
        [
            str(shutil.which("strace")), "-f", "-qq", "-v", "-xx", "-s", "1000000",
            "-e", f"trace={calls}", "-o", str(log), *world.command(*arguments),
        ],
        cwd=world.root,
        env=world.environ,
        capture_output=True,
        timeout=100,
        check=False,
    )  # fmt: skip
    lines = log.read_text().splitlines()
    log.unlink()
    return done.returncode, lines


@pytest.mark.interop("strace")
def test_nothing_that_is_written_anywhere_holds_a_secret(watched: Watched) -> None:
    """A37: files, the database's journal, pipes and sockets, while every password is replaced."""
    shutil.rmtree(watched.world.root / ".gateways")
    calls = "write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendfile"
    code, lines = _traced(watched, calls, "apply", "--yes")
    assert code == 0
    assert len(lines) > 20
    written = _bytes_of("\n".join(lines))
    assert b"SQLite format 3" in written, "the trace holds what was written"
    assert watched.scanner.find(written) == []


@pytest.mark.interop("strace")
def test_no_child_is_given_a_secret(watched: Watched) -> None:
    """A37: neither as an argument nor in its environment, but the age key to sops."""
    world = watched.world
    real = real_sops()
    folder = world.root.parent / "bin"
    folder.mkdir()
    (folder / "sops").symlink_to(real)
    world.environ["PATH"] = f"{folder}:{world.environ['PATH']}"
    world.environ["GATEWAYS_TOKEN"] = LITERAL
    subprocess.run(["git", "init", "-q"], cwd=world.root, env=world.environ, check=True)
    # an expression that is left to the real sops
    text = f"one: {json.dumps(PASSWORD)}\nfingerprint_key: {json.dumps(FINGERPRINT_KEY)}\n"
    options = ["--encrypted-regex", "(?i)^[a-z_]{1,99}$", "--input-type", "yaml"]
    sealed = sops(
        ["encrypt", "--age", world._recipient, *options, "--output-type", "yaml", "/dev/stdin"],
        text.encode(),
        world.environ,
    )
    (world.root / "gateways.d/secrets/main.sops.yaml").write_bytes(sealed)
    world.declare({"a": world.gateway()})
    code, lines = _traced(watched, "execve", "plan", "--max-disconnects", "1")
    assert code == 0
    started = {}
    for line in lines[1:]:  # the first one is the command itself
        program, _, given = _bytes_of(line).partition(b" ")
        if line.endswith("= 0"):
            started[Path(program.decode()).name] = given
    assert {"git", "sops"} <= started.keys()
    assert watched.scanner.find(started["git"]) == []
    assert set(watched.scanner.find(started["sops"])) <= {"age (raw)", "age body (raw)"}
    everything = b" ".join(started.values())
    assert not any("one" in found or "key" in found for found in watched.scanner.find(everything))


# --- a service elsewhere


@dataclass
class Remote:
    """A project whose gateways are on a service: a process of its own, that logs all it does."""

    watched: Watched
    service: Served
    token: str

    def expect_clean(self) -> None:
        """What is in the project's files, and what the service has said and stored."""
        self.watched.expect_clean_files()
        known = Scanner({**SECRETS, "token": self.token, "secret": self.token.split(".")[1]})
        assert known.find("\n".join(self.service.lines)) == []
        # of a token the service keeps a digest without a key: it is of 256 random bits
        assert Scanner(SECRETS).find_in(self.service.database.parent) == []


@pytest.fixture
def remote(mail_server: ServerProcess, tmp_path: Path) -> Iterator[Remote]:
    (tmp_path / "client").mkdir()
    world = World(tmp_path / "client/project", mail_server)
    world.passwords = {"one": PASSWORD, "two": {"value": BOUND, "hosts": ["localhost"]}}
    world.write_secrets(fingerprint_key=FINGERPRINT_KEY)
    world.declare({"a": world.gateway(), "b": world.gateway(2, protocol_type="SMTP")})
    mail_server.change_accounts({USERS[0]: PASSWORD, USERS[1]: BOUND})
    options = ("--private-hosts", "allow", "-v", "--log-format", "json")
    with served(tmp_path / "service/platform.db", *options) as service:
        token = service.token()
        world.environ["GATEWAYS_TOKEN"] = token
        world.settings["targets"] = {
            "production": {
                "platform": "http",
                "url": service.url,
                "tenant": "acme",
                "token": {"env": "GATEWAYS_TOKEN"},
            }
        }
        world.write_settings()
        watched = Watched(world)
        age = world.environ["SOPS_AGE_KEY"]
        secrets = {"age": age, "token": token, "token secret": token.split(".")[1]}
        watched.scanner = Scanner({**SECRETS, **secrets})
        yield Remote(watched, service, token)
    mail_server.change_accounts(ACCOUNTS)


def test_everything_works_on_a_service(remote: Remote) -> None:
    """A37: neither passwords nor the token are in what either side says or stores."""
    remote.watched.run("apply", "--yes")
    assert _every_command(remote.watched) == {0}
    remote.expect_clean()


def _remote_refused(remote: Remote) -> None:
    _refused(remote.watched)


def _not_known(remote: Remote) -> None:
    with closing(open_writable(remote.service.database)) as connection, transaction(connection):
        assert Tokens(connection, now).revoke(remote.token[4:16])


def _may_not_write(remote: Remote) -> None:
    remote.watched.world.environ["GATEWAYS_TOKEN"] = remote.service.token("read")


def _gone(remote: Remote) -> None:
    assert remote.service.end() == 0


def _for_another(remote: Remote) -> None:
    target = remote.watched.world.settings["targets"]["production"]
    target["url"] = "https://gateways.example.com"
    remote.watched.world.write_settings()


def _in_the_settings(remote: Remote) -> None:
    target = remote.watched.world.settings["targets"]["production"]
    target["token"] = {"env": LITERAL}
    remote.watched.world.write_settings()
    remote.watched.poisoned.add(remote.watched.world.root / "gateways.yaml")


REMOTE_FAILURES: dict[str, Callable[[Remote], None]] = {
    "the mail server refuses": _remote_refused,
    "a revoked token": _not_known,
    "a token that may only look": _may_not_write,
    "a service that has ended": _gone,
    "a token for another address": _for_another,
    "a token in the settings": _in_the_settings,
}


@pytest.mark.parametrize("name", REMOTE_FAILURES)
def test_failure_on_a_service(remote: Remote, name: str) -> None:
    """A37."""
    REMOTE_FAILURES[name](remote)
    codes = _every_command(remote.watched)
    assert codes - {0}, "something fails"
    assert 1 not in codes
    remote.expect_clean()
