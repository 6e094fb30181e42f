"""Mail servers, disks and permissions that fail while a command works."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from demo.certificates import Variant
from demo.mailserver import Faults, MailServer
from demo.mailserver.process import ServerProcess
from reconciler import schemas
from tests.cli.faulty import declare_on, faulty_server
from tests.cli.inside import contents, copied, inside
from tests.cli.world import CANARY, USERS, Ran, World
from tests.rig.scripted import Peer, scripted


@pytest.fixture(scope="module")
def connected(mail_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project whose gateways `a` and `b` are connected; never damaged itself."""
    world = World(tmp_path_factory.mktemp("connected") / "project", mail_server)
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    assert inside(world, "apply", "--yes").code == 0
    return world


@pytest.fixture
def project(connected: World, tmp_path: Path) -> World:
    return copied(connected, tmp_path / "copy")


# --- mail servers


@pytest.fixture(scope="module")
def faulty() -> Iterator[MailServer]:
    with faulty_server() as server:
        yield server


@dataclass(frozen=True)
class Bad:
    """A fault of the server, and what is to blame for it."""

    faults: Faults
    kind: str
    blamed: str
    mode: str = "TLS"
    logins: int = 0
    seconds: str = "20"
    fields: dict[str, Any] = field(default_factory=dict)


BAD = {
    "silent": Bad(Faults(silent=True), "timeout", "host", seconds="0.5"),
    "too slow": Bad(Faults(seconds_per_byte=0.5), "timeout", "host", seconds="0.5"),
    "of an unknown authority": Bad(Faults(certificate=Variant.OTHER_CA), "tls", "certificate_file"),
    "of another name": Bad(Faults(certificate=Variant.WRONG_NAME), "tls", "host"),
    "expired": Bad(Faults(certificate=Variant.EXPIRED), "tls", "host"),
    "unknown authority by STARTTLS": Bad(
        Faults(certificate=Variant.OTHER_CA), "tls", "certificate_file", mode="STARTTLS"
    ),
    "without STARTTLS": Bad(
        Faults(hide_starttls=True), "protocol", "encryption_mode", mode="STARTTLS"
    ),
    "refusing logins": Bad(Faults(refuse_logins=True), "auth", "user_password", logins=2),
    "hanging up": Bad(Faults(close_after_lines=1), "tcp", "host"),
}


@pytest.mark.parametrize("name", BAD)
def test_mail_server(project: World, faulty: MailServer, name: str) -> None:
    """Faults G8, G9, G12: exit 9, the field to blame, and no password where none belongs."""
    bad = BAD[name]
    declare_on(faulty, project, bad.mode, **bad.fields)
    before = faulty.counters.logins_ok, faulty.counters.logins_refused
    faulty.faults = bad.faults
    try:
        applied = inside(
            project, "apply", "--yes", "--max-disconnects", "1", "--timeout", bad.seconds,
            "--format", "json",
        )  # fmt: skip
        assert applied.code == 9, applied
        failed = [one for one in applied.events() if one["type"] == "change_failed"]
        assert [(one["gateway"], one["kind"], one["field"]) for one in failed] == [
            ("a", bad.kind, bad.blamed)
        ]
        if bad.kind != "timeout":
            checked = inside(project, "check")
            assert checked.code == 9
            assert f"field {bad.blamed}" in checked.out
    finally:
        faulty.faults = Faults()
    assert faulty.counters.logins_ok == before[0]
    assert faulty.counters.logins_refused == before[1] + bad.logins
    status = inside(project, "status", "--format", "json").json("status")["gateways"][0]
    assert (status["status"], status["kind"], status["field"]) == ("failed", bad.kind, bad.blamed)
    assert inside(project, "apply", "--yes").code == 0, "mended by itself"


def test_absent_server_blames_the_port(project: World) -> None:
    """G8: the other gateway is left alone."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = taken.getsockname()[1]
        project.declare({"a": project.gateway(port=port), "b": project.gateway(2)})
        ran = inside(project, "apply", "--yes")
    assert ran.code == 9
    assert "field port" in ran.out
    assert "b" not in {line.split(":")[0] for line in ran.out.splitlines()}


def test_absent_host_is_blamed(project: World) -> None:
    """G32."""
    project.declare({"a": project.gateway(host="mail.invalid"), "b": project.gateway(2)})
    ran = inside(project, "apply", "--yes")
    assert ran.code == 9
    assert "dns" in ran.out
    assert "field host" in ran.out


def test_slow_server_is_waited_for(project: World, faulty: MailServer) -> None:
    declare_on(faulty, project)
    faulty.faults = Faults(seconds_per_byte=0.0005)
    try:
        assert inside(project, "apply", "--yes", "--max-disconnects", "1").code == 0
    finally:
        faulty.faults = Faults()


def test_busy_server_is_asked_again_and_blamed_for_it(project: World, faulty: MailServer) -> None:
    """G12, G14: it is no refusal, so the password is tried again next time."""
    declare_on(faulty, project)
    faulty.faults = Faults(busy_logins=True)
    ran = inside(project, "apply", "--yes", "--max-disconnects", "1", "--timeout", "30")
    assert ran.code == 9
    assert "busy" in ran.out
    faulty.faults = Faults()
    assert inside(project, "apply", "--yes").code == 0


def test_stripped_starttls_hears_no_password(project: World) -> None:
    """Faults A28, A29: not a byte of a login before TLS, whatever the server says."""

    def strip(peer: Peer) -> None:
        peer.say(b"* OK IMAP4rev1 ready\r\n")
        tag = peer.hear().split()[0]
        peer.say(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" + tag + b" OK\r\n")

    with scripted(strip) as server:
        project.declare(
            {"a": project.gateway(port=server.port, encryption_mode="STARTTLS"),
             "b": project.gateway(2)}
        )  # fmt: skip
        assert inside(project, "apply", "--yes", "--timeout", "5").code == 9
        assert inside(project, "check", "a").code == 9
        heard = server.plain
    assert CANARY.encode() not in heard
    assert USERS[0].encode() not in heard
    assert b"LOGIN" not in heard.upper()


def test_wrong_password_is_tried_once_a_run_and_three_times_in_all(
    project: World, faulty: MailServer
) -> None:
    """Faults A42, G12: no mailbox is locked by a pull request's wrong password."""
    declare_on(faulty, project)
    project.write_secrets(one="wrong")
    before = faulty.counters.logins_refused
    for _ in range(5):
        assert inside(project, "apply", "--yes", "--max-disconnects", "1").code == 9
    assert faulty.counters.logins_refused == before + 3
    project.write_secrets()
    assert inside(project, "apply", "--yes").code == 0


# --- disks


@pytest.fixture
def growing(project: World) -> World:
    """A project with more to store than it has now."""
    more = {f"g{n}": project.gateway(labels={"number": str(n)}) for n in range(60)}
    project.declare({"a": project.gateway(), "b": project.gateway(2), **more})
    return project


def test_no_space_for_the_platform(growing: World) -> None:
    """Faults P17, G24: what was stored is there, and with space again the next run finishes.

    A limit on the size of files is the same to a program as a disk that is full.
    """
    database = growing.root / ".gateways/platform.db"
    before = database.read_bytes()
    limit = len(before) // 1024 + 8
    command = " ".join(growing.command("apply", "--yes", "--no-wait"))
    ran = _run(growing, "sh", "-c", f"ulimit -f {limit * 2}; exec {command}")
    assert ran.code in {7, 10}, ran
    assert "this is a bug" not in ran.err
    status = inside(growing, "status", "--format", "json").json("status")["gateways"]
    assert {"a", "b"} <= {one["name"] for one in status}
    assert inside(growing, "apply", "--yes", "--no-wait").code == 0
    assert len(inside(growing, "status", "--format", "json").json("status")["gateways"]) == 62


FULL = """
mount -t tmpfs -o size={size}k tmpfs .gateways || exit 99
cp -a ../saved/. .gateways/
dd if=/dev/zero of=.gateways/filler bs=1024 2>/dev/null
truncate -s -{left}k .gateways/filler
{apply}; echo "apply $?"
rm .gateways/filler
{apply}; echo "again $?"
{plan}; echo "plan $?"
cp -a .gateways/. ../after/
"""


@pytest.mark.parametrize("left", [0, 40])
def test_full_disk(growing: World, left: int) -> None:
    """Faults P17, G24: on a real full file system."""
    if not _may("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"):
        pytest.skip("this user may not mount")
    saved, after = growing.root.parent / "saved", growing.root.parent / "after"
    shutil.copytree(growing.root / ".gateways", saved)
    after.mkdir()
    script = FULL.format(
        size=600,
        left=left,
        apply=" ".join(growing.command("apply", "--yes", "--no-wait")),
        plan=" ".join(growing.command("plan", "--detailed-exitcode")) + " >/dev/null",
    )
    ran = _run(growing, "unshare", "-m", "sh", "-c", script)
    codes = dict(line.split() for line in ran.out.splitlines() if line.startswith(("ap", "ag")))
    assert codes["apply"] in {"7", "10"}, ran
    assert codes["again"] == "0", ran
    assert "no space left" in (ran.out + ran.err).lower(), ran
    assert "this is a bug" not in ran.err


def test_no_space_for_a_plan(project: World) -> None:
    """Faults P17, P18: no part of a plan is left where a whole one belongs."""
    project.declare({"a": project.gateway(encoding_mode="GBK"), "b": project.gateway(2)})
    (project.root / "plan.json").write_text("an earlier one")
    before = contents(project.root)
    command = " ".join(project.command("plan", "--out", "plan.json"))
    ran = _run(project, "sh", "-c", f"ulimit -f 1; exec {command} --format json")
    assert ran.code == 1, ran
    assert "cannot be written" in ran.err
    assert contents(project.root) == before


# --- permissions


def test_what_cannot_be_read_is_not_absent(project: World) -> None:
    """P24, P25: neither a declaration nor a folder that this user may not read."""
    path = project.root / "gateways.d/mail.yaml"
    for locked, place in ((path, "gateways.d/mail.yaml"), (path.parent, "gateways.d")):
        locked.chmod(0)
        ran = _unprivileged(project, "apply", "--yes", "--max-disconnects", "9")
        locked.chmod(0o755)
        assert ran.code == 3, ran
        assert f"{place}:1:1: error[unreadable-file]" in ran.err
    assert inside(project, "plan", "--detailed-exitcode").code == 0


@pytest.mark.parametrize(
    ("locked", "code", "words"),
    [
        ("gateways.yaml", 3, "gateways.yaml"),
        ("gateways.d/certs/root.pem", 3, "gateways.d/mail.yaml:9:23: error["),
        ("gateways.d/secrets/main.sops.yaml", 3, "gateways.d/secrets/main.sops.yaml"),
        ("gateways.d/secrets", 3, "gateways.d/mail.yaml:8:15: error["),
        (".gateways/platform.db", 10, "platform.db"),
        (".gateways", 10, ".gateways/platform.db"),
    ],
)
def test_unreadable(project: World, locked: str, code: int, words: str) -> None:
    path = project.root / locked
    mode = path.stat().st_mode
    path.chmod(0)
    ran = _unprivileged(project, "plan")
    path.chmod(mode)
    assert ran.code == code, ran
    assert words in ran.err


def test_a_read_only_checkout_can_be_validated_and_planned(project: World) -> None:
    project.declare({"a": project.gateway(encoding_mode="GBK"), "b": project.gateway(2)})
    folders = [path for path in project.root.rglob("*") if path.is_dir()]
    for folder in (project.root, *folders):
        folder.chmod(0o555)
    before = contents(project.root)
    try:
        assert _unprivileged(project, "validate").code == 0
        assert _unprivileged(project, "plan", "--detailed-exitcode").code == 2
        applied = _unprivileged(project, "apply", "--yes")
        assert applied.code == 10
        assert "write" in applied.err
        assert contents(project.root) == before
    finally:
        for folder in (project.root, *folders):
            folder.chmod(0o755)


# --- time and memory


BOMBS = {
    "aliases": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
    "merges": "a0: &a0 {k: v}\n"
    + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 25)),
    "text": "a: &a " + "x" * 60_000 + "\nb: [" + "*a, " * 3000 + "]\n",
    "depth": "gateways: " + "[" * 500_000,
    "keys": "".join(f"k{n}: {{}}\n" for n in range(5_000)),
    "braces": "gateways: {x: {host: '" + "{{ a }}" * 100_000 + "'}}\n",
    "anchors": "".join(f"- &a{n} x\n" for n in range(90_000)),
}
MEASURED = """
import sys, time
from reconciler.cli import main
code = main(["validate"])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(code, time.process_time(), status["VmHWM"].split()[0], file=sys.stderr)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(project: World, name: str) -> None:
    """Faults A9, A10: a second of work and 128 MiB at most."""
    (project.root / "gateways.d/x.yaml").write_text(BOMBS[name])
    ran = _run(project, sys.executable, "-c", MEASURED)
    code, seconds, kibibytes = ran.err.split()[-3:]
    assert (code, ran.code) == ("3", 0)
    assert "gateways.d/x.yaml:" in ran.out
    assert float(seconds) < 1.5, "half a second of it is Python and its modules"
    assert int(kibibytes) < 128 * 1024


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        yield from chain.from_iterable(map(_patterns, schema))
    elif isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        yield from (key for key in schema.get("patternProperties", ()))
        yield from chain.from_iterable(map(_patterns, schema.values()))


def test_no_pattern_of_a_schema_runs_away() -> None:
    """A15: on what is meant to make it try everything."""
    patterns = sorted({one for name in schemas.names() for one in _patterns(schemas.load(name))})
    assert len(patterns) > 5
    pieces = (
        "a",
        "a.",
        "a-",
        "-",
        ".",
        "0",
        "1.",
        ":",
        "0:",
        "@",
        "a@",
        "/",
        "a/",
        " ",
        "{{ a",
        "\\",
    )
    for pattern in patterns:
        compiled = re.compile(pattern)
        begin = time.process_time()
        for piece in pieces:
            for end in ("", "!", "\n", "@", "\0"):
                compiled.search(piece * (256 // len(piece)) + end)
        assert time.process_time() - begin < 0.8, pattern


def _run(world: World, *command: str) -> Ran:
    done = subprocess.run(
        command,
        cwd=world.root,
        # or Python would keep the bytecode that it had no space for, and every later run end there
        env={**world.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def _may(*command: str) -> bool:
    if not shutil.which(command[0]):
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _unprivileged(world: World, *arguments: str) -> Ran:
    """As a user whom permissions bind, which root is not."""
    if os.geteuid():
        return _run(world, *world.command(*arguments))
    drop = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if not _may(*drop, "true"):
        pytest.skip("root, without setpriv to give its rights up")
    return _run(world, *drop, *world.command(*arguments))
